"""Offers of workers: one started command for each, ready for the next load, and what it states.

A command is started when a model does not fit here. All are asked at once, so that the slowest one
decides. A worker that does not answer counts as away for a while. What no load takes is ended with
the load. Thread-safe.
"""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.errors import LocalrunError, NetworkError
from localrun.workers.devices import worker_devices
from localrun.workers.process import WorkerProcess

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from localrun.hardware.device import Device
    from localrun.workers.command import WorkerCommand
    from localrun.workers.hello import WorkerHello

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


class WorkerOffers:
    """The workers of one server."""

    def __init__(
        self,
        commands: Sequence[WorkerCommand] = (),
        *,
        start: Callable[[WorkerCommand], WorkerProcess] = WorkerProcess,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._commands = {command.name: command for command in commands}
        self._start = start
        self._clock = clock
        self._lock = threading.Lock()  # held while workers are asked
        self._ready: dict[str, WorkerProcess] = {}  # commands that no load has taken
        self._offers: dict[str, WorkerOffer] = {}

    def ask(self) -> list[WorkerOffer]:
        """Return the offers of all workers, in their order; blocks until the slowest answers."""
        with self._lock:
            stale = [name for name in self._commands if not self._is_fresh(name)]
            if stale:
                with ThreadPoolExecutor(len(stale), thread_name_prefix="ask-worker") as executor:
                    for offer in executor.map(self._ask, stale):
                        self._offers[offer.name] = offer
            return [self._offers[name] for name in self._commands]

    def take(self, names: Sequence[str]) -> TakenWorkers:
        """Return the workers of a load, ready for llama.cpp.

        Raises:
            NetworkError: one does not answer any more.
        """
        taken = TakenWorkers()
        try:
            for name in names:
                taken.processes.append(self._take(name))
        except BaseException:
            taken.end()
            raise
        return taken

    def end_ready(self) -> None:
        """End the commands that no load has taken."""
        with self._lock:
            ready, self._ready = list(self._ready.values()), {}
            self._offers.clear()  # the next load asks again
        for process in ready:
            process.end()

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
        process = self._ready.pop(name, None)
        hello: WorkerHello | None = None
        if process is not None:
            try:
                hello = process.refresh()
            except NetworkError:  # it has waited for too long
                process.end(0.0)
        try:
            if hello is None or process is None:
                process, hello = self._started(name)
        except NetworkError as error:
            _log.warning("%s", error.message)
            return WorkerOffer(name=name, at=self._clock(), error=error)
        self._ready[name] = process
        devices = tuple(worker_devices(name, hello))
        return WorkerOffer(name=name, at=self._clock(), hello=hello, devices=devices)

    def _started(self, name: str) -> tuple[WorkerProcess, WorkerHello]:
        process = self._start(self._commands[name])
        try:
            return process, process.read_hello()
        except BaseException:
            process.end(0.0)
            raise

    def _take(self, name: str) -> WorkerProcess:
        with self._lock:
            process = self._ready.pop(name, None)
            self._offers.pop(name, None)
        if process is not None:
            try:
                process.start()
            except NetworkError:
                process.end(0.0)
            else:
                return process
        process, _ = self._started(name)
        try:
            process.start()
        except BaseException:
            process.end(0.0)
            raise
        return process


class TakenWorkers:
    """The workers of one runner."""

    def __init__(self) -> None:
        self.processes: list[WorkerProcess] = []

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

    def end(self) -> None:
        """End all commands, at once; blocks."""
        processes, self.processes = self.processes, []
        threads = [threading.Thread(target=process.end) for process in processes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


NO_OFFERS = WorkerOffers()
