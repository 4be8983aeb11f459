"""Offers of workers: what each worker states, from a started command that is ready for a load.

    ServerWorkers   starts the commands of all loads, until the server closes
    WorkerOffers    the workers of one load: all are asked at once, so that the slowest one decides
    TakenWorkers    the workers of one runner, which end with it

A command is started when a model does not fit here. A worker that does not answer counts as away
for a while. What a load does not take ends with the load.
"""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from localrun.errors import LocalrunError, NetworkError, OverloadedError
from localrun.workers.devices import worker_devices
from localrun.workers.process import GRACE_S, WorkerProcess

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable, Sequence
    from types import TracebackType

    from localrun.hardware.device import Device
    from localrun.workers.command import WorkerCommand
    from localrun.workers.hello import WorkerHello

    StartWorker = Callable[[WorkerCommand], WorkerProcess]

FRESH_S = 5.0  # other programs take a worker's memory, too
AWAY_S = 5.0  # until a load that waits asks a worker again that did not answer
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOffer:
    """The answer of one worker: its hello, or why it cannot be used."""

    name: str
    at: float  # time of the answer
    hello: WorkerHello | None = None
    devices: tuple[Device, ...] = ()  # none if it cannot be used
    error: LocalrunError | None = None


class ServerWorkers:
    """The workers of one server; all methods are safe from any thread."""

    def __init__(
        self,
        commands: Sequence[WorkerCommand] = (),
        *,
        start: StartWorker = WorkerProcess,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._commands = commands
        self._start = start
        self._clock = clock
        self._lock = threading.Lock()  # guards the two below, also while a command is started
        self._processes: list[WorkerProcess] = []
        self._is_closed = False

    def offers(self) -> WorkerOffers:
        """Return the offers for one load."""
        return WorkerOffers(self._commands, start=self._start_command, clock=self._clock)

    def close(self) -> None:
        """Kill all commands that run; none is started any more."""
        with self._lock:
            self._is_closed = True
            processes, self._processes = self._processes, []
        for process in processes:
            process.kill()

    def _start_command(self, command: WorkerCommand) -> WorkerProcess:
        with self._lock:
            if self._is_closed:
                raise OverloadedError("the server is leaving")
            process = self._start(command)
            self._processes = [other for other in self._processes if other.is_alive]
            self._processes.append(process)
        return process


class WorkerOffers:
    """The workers of one load, for one thread; as a context manager it is ended."""

    def __init__(
        self,
        commands: Sequence[WorkerCommand] = (),
        *,
        start: StartWorker = WorkerProcess,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._commands = {command.name: command for command in commands}
        self._start = start
        self._clock = clock
        self._ready: dict[str, WorkerProcess] = {}  # started and not taken, also while it is asked
        self._offers: dict[str, WorkerOffer] = {}
        self._is_aborted = False

    def ask(self) -> list[WorkerOffer]:
        """Return the offers of all workers, in their order; blocks until the slowest answers.

        Raises:
            OverloadedError: the server is closing.
        """
        stale = [name for name in self._commands if not self._is_fresh(name)]
        if stale:
            with ThreadPoolExecutor(len(stale), thread_name_prefix="ask-worker") as executor:
                try:
                    for offer in executor.map(self._ask, stale):
                        self._offers[offer.name] = offer
                except BaseException:  # such as Ctrl-C: nobody waits for the slow ones
                    self._abort()
                    raise
        return [self._offers[name] for name in self._commands]

    def take(self, names: Sequence[str]) -> TakenWorkers:
        """Return the workers of a runner, ready for llama.cpp; blocks if one has to start anew.

        Raises:
            NetworkError: one does not answer any more.
            OverloadedError: the server is closing.
        """
        if not names:
            return TakenWorkers()
        with ThreadPoolExecutor(len(names), thread_name_prefix="start-worker") as executor:
            starts = [executor.submit(self._take, name) for name in names]
        errors = [error for start in starts if (error := start.exception()) is not None]
        taken = TakenWorkers(start.result() for start in starts if start.exception() is None)
        if errors:
            taken.end(is_forced=True)
            raise errors[0]
        return taken

    def end(self) -> None:
        """End the commands that were not taken, in threads for which Python waits at its end."""
        ready, self._ready = list(self._ready.values()), {}
        self._offers.clear()
        _end_all(ready)

    def __enter__(self) -> Self:
        """Return the offers."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the commands that were not taken."""
        self.end()

    def _is_fresh(self, name: str) -> bool:
        offer = self._offers.get(name)
        if offer is None:
            return False
        age_s = self._clock() - offer.at
        if offer.error is not None:
            return age_s < AWAY_S
        return age_s < FRESH_S and name in self._ready and self._ready[name].is_alive

    def _ask(self, name: str) -> WorkerOffer:
        """Return the offer of a worker, from its waiting command or a new one."""
        try:
            hello = self._refreshed(name) or self._started(name)
        except NetworkError as error:
            if not self._is_aborted:
                _log.warning("%s", error.message)
            return WorkerOffer(name=name, at=self._clock(), error=error)
        devices = tuple(worker_devices(name, hello))
        return WorkerOffer(name=name, at=self._clock(), hello=hello, devices=devices)

    def _refreshed(self, name: str) -> WorkerHello | None:
        """Return a hello of the waiting command, None if it has ended or there is none.

        Raises:
            NetworkError: it does not answer; a new one would take as long.
        """
        process = self._ready.get(name)
        if process is None:
            return None
        try:
            return process.refresh()
        except NetworkError:
            del self._ready[name]
            is_frozen = process.is_alive
            process.end(0.0)
            if is_frozen:
                raise
            return None

    def _started(self, name: str) -> WorkerHello:
        """Start the command; return its hello."""
        process = self._ready[name] = self._start(self._commands[name])
        if self._is_aborted:
            process.kill()
        try:
            return process.read_hello()
        except BaseException:
            del self._ready[name]
            process.end(0.0)
            raise

    def _abort(self) -> None:
        """Kill the commands that are asked, also those that are about to start."""
        self._is_aborted = True
        for process in list(self._ready.values()):
            process.kill()

    def _take(self, name: str) -> WorkerProcess:
        self._offers.pop(name, None)
        process = self._ready.pop(name, None)
        if process is not None:
            try:
                process.start()
            except NetworkError:  # it has ended since the plan
                process.end(0.0)
            else:
                return process
        self._started(name)
        process = self._ready.pop(name)
        try:
            process.start()
        except BaseException:
            process.end(0.0)
            raise
        return process


class TakenWorkers:
    """The workers of one runner."""

    def __init__(self, processes: Iterable[WorkerProcess] = ()) -> None:
        self.processes = list(processes)
        self._ending = threading.Lock()  # held until all have ended

    @property
    def links(self) -> list[socket.socket]:
        """Return the links to the workers, in their order."""
        return [process.socket for process in self.processes]

    def release(self) -> None:
        """Close this process's ends of the links, which a runner has now."""
        for process in self.processes:
            process.release()

    def end_reason(self, name: str, seen: str) -> str:
        """Return why a worker was lost: its own last words, or what was seen of it."""
        for process in self.processes:
            if process.name == name:
                return process.end_reason(seen)
        return seen

    def end(self, *, is_forced: bool = False) -> None:
        """End all commands, at once; blocks until all have ended, also in a second thread."""
        with self._ending:
            processes, self.processes = self.processes, []
            for thread in _end_all(processes, 0.0 if is_forced else GRACE_S):
                thread.join()


def _end_all(
    processes: Sequence[WorkerProcess], grace_s: float = GRACE_S
) -> list[threading.Thread]:
    """Begin to end each of the commands; return a thread for each."""
    threads = [
        threading.Thread(target=process.end, args=(grace_s,), name="worker-end")
        for process in processes
    ]
    for thread in threads:
        thread.start()
    return threads
