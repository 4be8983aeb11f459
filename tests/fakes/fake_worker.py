"""Commands of workers that do not exist, in place of `WorkerProcess`."""

from __future__ import annotations

import functools
import socket
import threading
from typing import TYPE_CHECKING, cast

from localrun.errors import NetworkError
from localrun.workers.command import parse_commands
from tests.waiting import HANG_S
from tests.workers.hellos import GIB, far_device, hello

if TYPE_CHECKING:
    from localrun.workers.command import WorkerCommand
    from localrun.workers.hello import WorkerHello
    from localrun.workers.process import WorkerProcess


class FakeWorker:
    """A command that states less free memory each time, until it ends."""

    def __init__(self, lab: WorkerLab, name: str) -> None:
        self._lab, self.name, self.is_alive = lab, name, True
        self._may_answer = threading.Event()

    @functools.cached_property
    def ends(self) -> tuple[socket.socket, socket.socket]:
        return socket.socketpair()

    @property
    def socket(self) -> socket.socket:
        return self.ends[0]

    def read_hello(self) -> WorkerHello:
        if self.name in self._lab.silent:
            self._lab.asked.set()
            assert self._may_answer.wait(HANG_S)
        if self.name in self._lab.away or not self.is_alive:
            raise NetworkError(f"the worker `{self.name}` cannot be used: no such host")
        self._lab.hellos.append(self.name)
        return hello(far_device(self._lab.free_bytes - self._lab.num_hellos))

    refresh = read_hello

    def answer(self) -> None:
        """Let a silent worker answer."""
        self._may_answer.set()

    def start(self) -> None:
        if not self.is_alive:
            raise NetworkError("it ended")
        self._lab.loading.append(self.name)
        if self._lab.barrier is not None:
            self._lab.barrier.wait()

    def end_reason(self, seen: str) -> str:
        return seen

    def release(self) -> None:
        pass

    def kill(self) -> None:
        self.is_alive = False
        self.answer()

    def end(self, grace_s: float = 1.0) -> None:
        self._lab.graces.append(grace_s)
        assert self._lab.may_end.wait(HANG_S)
        self.is_alive = False


class WorkerLab:
    """The commands of some workers, what they do, and a clock."""

    def __init__(self, *names: str) -> None:
        self.commands = parse_commands(names)
        self.away: set[str] = set()
        self.silent: set[str] = set()  # until they are told to answer
        self.asked = threading.Event()  # a silent worker was
        self.may_end = threading.Event()  # as fast as a command that exits
        self.may_end.set()
        self.barrier: threading.Barrier | None = None  # of the commands that load
        self.free_bytes = 8 * GIB
        self.started: list[FakeWorker] = []
        self.hellos: list[str] = []  # names of those that answered
        self.loading: list[str] = []  # names of those that llama.cpp's protocol began with
        self.graces: list[float] = []  # seconds that each got to end by itself
        self.now = 0.0

    def start(self, command: WorkerCommand) -> WorkerProcess:
        self.started.append(FakeWorker(self, command.name))
        return cast("WorkerProcess", self.started[-1])

    @property
    def num_hellos(self) -> int:
        return len(self.hellos)

    def worker(self, name: str) -> FakeWorker:
        """Return the command of this name that was started last."""
        return [worker for worker in self.started if worker.name == name][-1]

    def close(self) -> None:
        """Let all commands end."""
        self.may_end.set()
        for worker in self.started:
            worker.kill()
            for end in worker.__dict__.get("ends", ()):
                end.close()

    def clock(self) -> float:
        return self.now

    @property
    def alive(self) -> list[str]:
        return sorted(worker.name for worker in self.started if worker.is_alive)
