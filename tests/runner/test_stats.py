from __future__ import annotations

from localrun.runner.messages import Event, Stats
from localrun.runner.stats import EVERY_S, StatsReporter


def test_what_changes_is_told_once_a_second_and_when_all_is_done() -> None:
    now, running, told = [0.0], [1], list[Event]()
    busyness = StatsReporter(lambda: Stats(num_running=running[0]), told.append, lambda: now[0])

    for running[0] in (1, 2, 3):
        busyness.tell(is_idle=False)  # within one second: only the first
    now[0] += EVERY_S
    busyness.tell(is_idle=False)
    running[0] = 0
    for _ in range(3):
        busyness.tell(is_idle=True)  # at once, and not again

    assert told == [Stats(num_running=1), Stats(num_running=3), Stats(num_running=0)]
