"""All loaded models: load on demand, keep alive, unload, start again after a crash.

Blocking and thread-safe; the server calls it from worker threads. Each model has
a `Slot` with a lock of its own, so that loading one never makes requests to
another wait.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from localrun.errors import OverloadedError, UsageError
from localrun.runner.messages import Terminal
from localrun.supervisor.memory import available_bytes
from localrun.supervisor.planning import only_processor
from localrun.supervisor.slot import KeepAlive, Slot
from localrun.supervisor.spawn import start_runner

if TYPE_CHECKING:
    import socket
    import subprocess
    from collections.abc import Callable

    from localrun.runner.messages import Event, Submitted
    from localrun.supervisor.planning import Devices
    from localrun.supervisor.runner import Sink, Start
    from localrun.supervisor.slot import RunnerModel, RunningModel

SWEEP_S = 1.0
MEMORY_FACTOR = 1.2  # what a model needs beside its file, roughly


@dataclass(frozen=True, slots=True)
class Ticket:
    """A submitted request; ``load_s`` is what it waited for the model."""

    load_s: float
    cancel: Callable[[], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What has happened to a model since the server began."""

    num_loads: int = 0
    num_crashes: int = 0


class RunnerPool:
    """The runners of one server."""

    def __init__(
        self,
        *,
        keep_alive_s: float | None,
        start: Start = start_runner,
        clock: Callable[[], float] = time.monotonic,
        free_bytes: Callable[[], int] = available_bytes,
        devices: Devices = only_processor,
    ) -> None:
        self._devices = devices
        self._keep_alive = KeepAlive(keep_alive_s)
        self._start = start
        self._clock = clock
        self._free_bytes = free_bytes
        self._lock = threading.Lock()
        self._slots: dict[RunnerModel, Slot] = {}  # by what models must share to share a runner
        self._request_ids = itertools.count(1)
        self._closing = threading.Event()
        # Linux kills a runner with the thread that started it, so that thread lives with the pool
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="runner-start")
        threading.Thread(target=self._sweep_until_closed, name="keep-alive", daemon=True).start()

    def submit(
        self,
        model: RunnerModel,
        request: Submitted,
        sink: Sink,
        *,
        num_ctx: int | None = None,
        keep_alive: KeepAlive | None = None,
    ) -> Ticket:
        """Load the model if it is not, and generate; blocks only for the load.

        ``request_id`` of the request is given here; no ``keep_alive`` means the pool's
        own. Events go to ``sink`` from another thread; the last is the one `Terminal`.
        When this raises, the sink is not called.

        Raises:
            LoadError: the model does not load.
            UsageError: the request cannot be sent to a runner.
        """
        request_id = next(self._request_ids)
        slot = self._slot(model)
        runner, load_s = slot.acquire(model, num_ctx)

        def to_sink(event: Event) -> None:
            if isinstance(event, Terminal):
                slot.release(model.name, keep_alive or self._keep_alive)
            sink(event)

        try:
            runner.submit(replace(request, request_id=request_id), to_sink)
        except UsageError:
            slot.release(model.name, keep_alive or self._keep_alive)
            raise
        return Ticket(load_s, lambda: runner.cancel(request_id))

    def load(
        self, model: RunnerModel, *, num_ctx: int | None = None, keep_alive: KeepAlive | None = None
    ) -> float:
        """Load the model if it is not; return the seconds that took.

        Raises:
            LoadError: the model does not load.
        """
        slot = self._slot(model)
        _, load_s = slot.acquire(model, num_ctx)
        slot.release(model.name, keep_alive or self._keep_alive)
        return load_s

    def running(self) -> list[RunningModel]:
        """Return the loaded models, by name; several may share one runner."""
        found = [row for slot in self._all_slots() for row in slot.describe()]
        return sorted(found, key=lambda model: model.name)

    @property
    def is_closing(self) -> bool:
        """Tell whether no more requests are taken."""
        return self._closing.is_set()

    def history(self) -> dict[str, History]:
        """Return how often models were loaded and crashed, by the name that was asked for."""
        loads: Counter[str] = Counter()
        crashes: Counter[str] = Counter()
        for slot in self._all_slots():
            loads += slot.num_loads
            crashes += slot.num_crashes
        names = loads.keys() | crashes.keys()
        return {name: History(num_loads=loads[name], num_crashes=crashes[name]) for name in names}

    def unload(self, name: str) -> bool:
        """Let a model go when its open requests have ended; tell whether it was loaded.

        Its runner ends with the last name that holds it.
        """
        were_loaded = [slot.expire(name) for slot in self._all_slots()]  # a changed file has two
        return any(were_loaded)

    def close(self) -> None:
        """End all runners, also those that load; open requests get their error."""
        with self._lock:
            self._closing.set()
        for slot in self._all_slots():
            slot.close()
        self._starter.shutdown()

    def sweep(self) -> None:
        """Unload what has outlived its keep-alive; called every second by the pool itself."""
        for slot in self._all_slots():
            slot.close_if_expired()

    def _sweep_until_closed(self) -> None:
        while not self._closing.wait(SWEEP_S):
            self.sweep()

    def _slot(self, model: RunnerModel) -> Slot:
        with self._lock:
            self._refuse_when_closing()
            slot = self._slots.get(model.shared)
            if slot is None:
                slot = self._slots[model.shared] = self._new_slot()
        if not slot.is_loaded:
            self._make_room(model)
        return slot

    def _new_slot(self) -> Slot:
        return Slot(self._start_runner, self._clock, self._devices)

    def _make_room(self, model: RunnerModel) -> None:
        """Unload idle models, the longest unused first, while memory is short for a new one."""
        for slot in sorted(self._all_slots(), key=lambda slot: slot.last_use):
            if self._free_bytes() >= model.size_bytes * MEMORY_FACTOR:
                return
            slot.close_if_idle()

    def _start_runner(self, child_end: socket.socket) -> subprocess.Popen[bytes]:
        with self._lock:
            self._refuse_when_closing()
            start = self._starter.submit(self._start, child_end)
        return start.result()

    def _refuse_when_closing(self) -> None:
        if self._closing.is_set():
            raise OverloadedError("the server is leaving")

    def _all_slots(self) -> list[Slot]:
        with self._lock:
            return list(self._slots.values())
