from __future__ import annotations

from typing import TYPE_CHECKING

import psutil
import pytest

from localrun.load_rules import LoadRules
from localrun.runner.messages import Failed, Finished
from localrun.supervisor import runner
from localrun.supervisor.heartbeat import SILENCE_S, Heartbeat
from localrun.supervisor.pool import RunnerPool
from localrun.supervisor.runner_process import StartedRunner, start_with_pair
from tests.fakes.requests import text_request
from tests.fakes.starting import Collector, fake_model, spawn_fake
from tests.waiting import wait_until

if TYPE_CHECKING:
    import socket
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

LOAD_TIMEOUT_S = 50.0  # of the heartbeats' own clock
TIMEOUT_SCALE = 0.01  # of the monitor, which checks so much more often


class CountingHeartbeat(Heartbeat):
    """Counts its pings, on a clock that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0
        self.num_pings = 0
        super().__init__(lambda: self.now)

    def record_ping(self) -> None:
        super().record_ping()
        self.num_pings += 1


class Watched:
    """A pool, the heartbeats of its runners and their processes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.heartbeats: list[CountingHeartbeat] = []
        self.processes: list[subprocess.Popen[bytes]] = []
        monkeypatch.setattr(runner, "Heartbeat", self._heartbeat)
        self.pool = RunnerPool(
            keep_alive_s=300,
            start=self._start,
            health_timeout_scale=TIMEOUT_SCALE,
            rules=LoadRules(timeout_s=LOAD_TIMEOUT_S),
        )

    def ask(self, prompt: str, model: str = "fake:latest") -> Collector:
        sink = Collector()
        self.pool.submit(fake_model(model), text_request(prompt), sink)
        return sink

    def _heartbeat(self) -> CountingHeartbeat:
        self.heartbeats.append(CountingHeartbeat())
        return self.heartbeats[-1]

    def _start(self) -> StartedRunner:
        return start_with_pair(self._spawn)

    def _spawn(self, child_end: socket.socket) -> subprocess.Popen[bytes]:
        self.processes.append(spawn_fake(child_end))
        return self.processes[-1]


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    found = Watched(monkeypatch)
    yield found
    found.pool.close()


def test_a_runner_without_requests_gets_no_pings(watched: Watched) -> None:
    watched.ask("say x").until_end()
    idle = watched.heartbeats[0]
    wait_until(lambda: idle.is_resting)
    before = idle.num_pings
    watched.ask("quiet", "other:latest").until_started()
    busy = watched.heartbeats[1]
    wait_until(lambda: busy.num_pings >= 5)

    assert idle.num_pings == before


def test_the_monitor_sleeps_while_no_runner_has_requests(watched: Watched) -> None:
    watched.ask("say x").until_end()
    (heartbeat,) = watched.heartbeats
    wait_until(lambda: heartbeat.is_resting)
    monitor = watched.pool._monitor

    assert not monitor._is_awake.is_set()

    watched.ask("quiet").until_started()
    wait_until(lambda: not heartbeat.is_resting and heartbeat.num_pings >= 2)


def test_a_runner_that_hung_while_it_was_idle_is_found_by_the_next_request(
    watched: Watched,
) -> None:
    watched.ask("say x").until_end()
    (heartbeat,) = watched.heartbeats
    wait_until(lambda: heartbeat.is_resting)
    psutil.Process(watched.processes[0].pid).suspend()
    heartbeat.now += 100 * SILENCE_S  # of idle time, which says nothing
    sink = watched.ask("say y")
    wait_until(lambda: heartbeat._ping_at is not None)
    at_first = heartbeat.stall_reason(timeout_scale=TIMEOUT_SCALE)
    heartbeat.now += 1.1 * SILENCE_S * TIMEOUT_SCALE
    end = sink.until_end()
    again = watched.ask("say z").until_end()

    assert at_first is None
    assert isinstance(end, Failed)
    assert "did not answer" in end.message
    assert isinstance(again, Finished)


def test_a_load_without_progress_ends_with_an_error_that_names_the_setting(
    watched: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold = tmp_path / "hold"
    hold.touch()
    monkeypatch.setenv("FAKE_RUNNER_HOLD", str(hold))
    sink = watched.ask("say x")
    wait_until(lambda: [one.progress for one in watched.pool.states()] == [0.5])
    (heartbeat,) = watched.heartbeats
    heartbeat.now += 0.9 * LOAD_TIMEOUT_S
    in_time = heartbeat.load_stall_reason(LOAD_TIMEOUT_S)
    heartbeat.now += 0.2 * LOAD_TIMEOUT_S
    end = sink.until_end()
    hold.unlink()
    again = watched.ask("say y").until_end()

    assert in_time is None
    assert isinstance(end, Failed)
    assert "made no progress for 55 s and was killed (LOCALRUN_LOAD_TIMEOUT is 50 s)" in end.message
    assert isinstance(again, Finished)
