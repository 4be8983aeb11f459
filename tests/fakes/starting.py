"""Start the fake runner as the pool starts a real one, and collect a request's events."""

from __future__ import annotations

import queue
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from localrun.runner.messages import Event, Failed, Finished, Started, Step
from localrun.supervisor.model import RunnerModel
from localrun.supervisor.runner_process import StartedRunner, start_with_pair
from tests.waiting import HANG_S

if TYPE_CHECKING:
    import socket

    from localrun.supervisor.pool import RunnerPool

FAKE = Path(__file__).with_name("fake_runner.py")


def start_fake() -> StartedRunner:
    return start_with_pair(spawn_fake)


def spawn_fake(child_end: socket.socket) -> subprocess.Popen[bytes]:
    fd = child_end.fileno()
    return subprocess.Popen([sys.executable, FAKE, str(fd)], pass_fds=[fd], stderr=subprocess.PIPE)


def fake_model(name: str = "fake:latest", file: str = "fake.gguf") -> RunnerModel:
    """Return a model; those of other names have other weights."""
    digest = "sha256:00" if name == "fake:latest" else f"sha256:{name.encode().hex()}"
    return RunnerModel(name=name, shards=(Path(f"/nowhere/{file}"),), digest=digest, size_bytes=1)


def num_open(pool: RunnerPool) -> int:
    """Return how many requests of loaded models have not ended."""
    return sum(model.num_open for model in pool.running())


class Collector:
    """A sink that a test can wait on."""

    def __init__(self) -> None:
        self.events: queue.Queue[Event] = queue.Queue()
        self.seen: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.events.put(event)

    def until_started(self) -> None:
        while not isinstance(self._next(), Started):
            pass

    def until_text(self) -> None:
        while not isinstance(self._next(), Step):
            pass

    def until_end(self) -> Finished | Failed:
        while True:
            event = self._next()
            if isinstance(event, Finished | Failed):
                return event

    def num_ends(self) -> int:
        """Return how many terminal events have come so far."""
        while not self.events.empty():
            self._next()
        return sum(isinstance(event, Finished | Failed) for event in self.seen)

    @property
    def text(self) -> str:
        return "".join(text for e in self.seen if isinstance(e, Step) for _, text in e.deltas)

    def _next(self) -> Event:
        event = self.events.get(timeout=HANG_S)
        self.seen.append(event)
        return event
