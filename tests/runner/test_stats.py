from __future__ import annotations

from localrun.runner.messages import Event, Stats
from localrun.runner.stats import INTERVAL_S, StatsReporter


def test_changed_statistics_are_sent_once_a_second_and_when_the_engine_idles() -> None:
    now, running, sent = [0.0], [1], list[Event]()
    reporter = StatsReporter(lambda: Stats(num_running=running[0]), sent.append, lambda: now[0])

    for running[0] in (1, 2, 3):
        reporter.report(is_idle=False)  # within one second: only the first
    now[0] += INTERVAL_S
    reporter.report(is_idle=False)
    running[0] = 0
    for _ in range(3):
        reporter.report(is_idle=True)  # at once, and not again

    assert sent == [Stats(num_running=1), Stats(num_running=3), Stats(num_running=0)]
