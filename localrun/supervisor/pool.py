"""All loaded models: load on demand, keep alive, make room, start again after a crash.

Thread-safe, and `submit` does not block: what happens to a request comes to its sink. Each
model has a `Slot` with a thread of its own, so that loading one never makes requests to
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

from localrun.errors import OverloadedError, error_named
from localrun.runner.messages import Detokenize, Failed, Finished, Tokenize
from localrun.supervisor.calls import Call
from localrun.supervisor.crashes import Crashes
from localrun.supervisor.listing import failed_rows, rows_of
from localrun.supervisor.memory import available_bytes
from localrun.supervisor.model import KeepAlive, ModelState
from localrun.supervisor.needs import Needs
from localrun.supervisor.planning import only_processor
from localrun.supervisor.room import Memory, Room
from localrun.supervisor.runner import frame_of
from localrun.supervisor.slot import House, Slot
from localrun.supervisor.spawn import start_runner

if TYPE_CHECKING:
    import socket
    import subprocess
    from collections.abc import Callable

    from localrun.runner.messages import Event, Submitted
    from localrun.supervisor.model import RunnerModel, RunningModel
    from localrun.supervisor.planning import Devices
    from localrun.supervisor.runner import Sink, Start

SWEEP_S = 1.0
PING_S = 3.0
MOST_WAITING = 512
RETRY_S = 5.0


@dataclass(frozen=True, slots=True)
class Ticket:
    """A submitted request."""

    call: Call
    slot: Slot

    @property
    def load_s(self) -> float:
        """Return what it waited for the model, known when its first event comes."""
        return self.call.load_s

    def cancel(self) -> None:
        """End it, wherever it is; one that has ended is left alone."""
        self.slot.cancel(self.call)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a request wants beside its answer; None is as the pool or the model has it."""

    num_ctx: int | None = None
    keep_alive: KeepAlive | None = None
    client: str = ""  # who asks: turns are fair between clients
    pins: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What has happened to a model since the server began."""

    num_loads: int = 0
    num_crashes: int = 0


class Loading:
    """A load that somebody waits for."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._end: Finished | Failed | None = None
        self.ticket: Ticket | None = None

    def __call__(self, event: Event) -> None:
        """Take the end."""
        if isinstance(event, Finished | Failed):
            self._end = event
            self._over.set()

    def wait(self) -> float:
        """Return the seconds that it took; blocks.

        Raises:
            LocalrunError: the model does not load.
        """
        self._over.wait()
        if isinstance(self._end, Failed):
            raise error_named(self._end.code, self._end.message, hint=self._end.hint)
        return self.ticket.load_s if self.ticket else 0.0

    def cancel(self) -> None:
        """Wait no more; a load that nobody waits for is broken off."""
        if self.ticket is not None:
            self.ticket.cancel()


class RunnerPool:
    """The runners of one server."""

    def __init__(  # noqa: PLR0913 - each has a default
        self,
        *,
        keep_alive_s: float | None,
        start: Start = start_runner,
        clock: Callable[[], float] = time.monotonic,
        free_bytes: Callable[[], int] = available_bytes,
        devices: Devices = only_processor,
        forget: Callable[[], None] = lambda: None,
        needs: Needs | None = None,
        most_waiting: int = MOST_WAITING,
        patience: float = 1.0,
    ) -> None:
        self._keep_alive = KeepAlive(keep_alive_s)
        self._start = start
        self._clock = clock
        self._most_waiting = most_waiting
        self._patience = patience  # of the watch over runners that hang; scales its times
        self._lock = threading.Lock()
        self._slots: dict[RunnerModel, Slot] = {}  # by what models must share to share a runner
        self._request_ids = itertools.count(1)
        self._closing = threading.Event()
        memory = Memory(
            devices=devices,
            needs=needs or Needs(),
            free_bytes=free_bytes,
            forget=forget,
        )
        self._house = House(
            start=self._start_runner,
            clock=clock,
            room=Room(memory, self._all_slots, clock),
            crashes=Crashes(clock),
            loads=Counter(),
        )
        # Linux kills a runner with the thread that started it, so that thread lives with the pool
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="runner-start")
        threading.Thread(target=self._sweep_until_closed, name="keep-alive", daemon=True).start()

    @property
    def is_closing(self) -> bool:
        """Tell whether no more requests are taken."""
        return self._closing.is_set()

    @property
    def num_waiting(self) -> int:
        """Return how many requests wait, for a load or for their turn."""
        return sum(slot.num_waiting for slot in self._all_slots())

    def submit(
        self, model: RunnerModel, request: Submitted, sink: Sink, wanted: Wanted | None = None
    ) -> Ticket:
        """Let a request wait for the model to be loaded, and for its turn; does not block.

        ``request_id`` of the request is given here. Events go to ``sink`` from other
        threads; the last is the one `Terminal`. When this raises, the sink is not called.

        Raises:
            OverloadedError: too many wait already, the model crashed too often, or the server
                is leaving.
            UsageError: the request cannot be sent to a runner.
        """
        request_id = next(self._request_ids)
        frame = frame_of(replace(request, request_id=request_id))
        is_light = isinstance(request, Tokenize | Detokenize)
        wanted = wanted or Wanted()
        return self._put(self._call(request_id, model, frame, sink, wanted, is_light=is_light))

    def begin_load(self, model: RunnerModel, wanted: Wanted | None = None) -> Loading:
        """Load the model if it is not; who wants to know waits for the result.

        Raises:
            OverloadedError: as for `submit`.
        """
        loading = Loading()
        number = next(self._request_ids)
        loading.ticket = self._put(
            self._call(number, model, None, loading, wanted or Wanted(), is_light=False)
        )
        return loading

    def load(self, model: RunnerModel, wanted: Wanted | None = None) -> float:
        """Load the model if it is not; return the seconds that took; blocks.

        Raises:
            LoadError: the model does not load.
            OverloadedError: as for `submit`.
        """
        return self.begin_load(model, wanted).wait()

    def running(self) -> list[RunningModel]:
        """Return the loaded models, by name; several may share one runner."""
        waits = {ModelState.STARTING, ModelState.LOADING, ModelState.FAILED}
        return [row for row in self.states() if row.state not in waits]

    def states(self) -> list[RunningModel]:
        """Return all models that are loaded, wanted or failing, by name."""
        found = [row for slot in self._all_slots() for row in rows_of(slot, self._clock)]
        found += failed_rows(self._house.crashes, {row.name for row in found})
        return sorted(found, key=lambda row: row.name)

    def history(self) -> dict[str, History]:
        """Return how often models were loaded and crashed, by the name that was asked for."""
        loads, crashes = self._house.loads.copy(), self._house.crashes.counts()
        names = loads.keys() | crashes.keys()
        return {name: History(num_loads=loads[name], num_crashes=crashes[name]) for name in names}

    def unload(self, name: str) -> bool:
        """Let a model go when its open requests have ended; tell whether it was there.

        Its runner ends with the last name that holds it. A load is broken off.
        """
        were_there = [slot.expire(name) for slot in self._all_slots()]  # a changed file has two
        return any(were_there)

    def close(self, *, is_hasty: bool = False) -> None:
        """End all runners, also those that load; open requests get their error."""
        with self._lock:
            self._closing.set()
        slots = self._all_slots()
        threads = [
            threading.Thread(target=slot.close, kwargs={"is_hasty": is_hasty}) for slot in slots
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self._house.room.notify()
        self._starter.shutdown()

    def sweep(self) -> None:
        """Unload what has outlived its keep-alive; called every second by the pool itself."""
        for slot in self._all_slots():
            slot.settle()

    def _sweep_until_closed(self) -> None:
        asked_at = 0.0
        while not self._closing.wait(SWEEP_S * min(1.0, self._patience)):
            is_time = time.monotonic() - asked_at >= PING_S * self._patience
            asked_at = time.monotonic() if is_time else asked_at
            for slot in self._all_slots():
                slot.stir()
                self._watch(slot, asks=is_time)

    def _watch(self, slot: Slot, *, asks: bool) -> None:
        """End a runner that hangs."""
        runner = slot.runner
        if runner is None or not runner.is_alive:
            return
        is_loading = slot.ready is None
        if asks and not is_loading:
            runner.ping()
        reason = runner.pulse.stall(is_loading=is_loading, patience=self._patience)
        if reason is not None:
            runner.kill(reason)

    def _call(
        self,
        request_id: int,
        model: RunnerModel,
        frame: bytes | None,
        sink: Sink,
        wanted: Wanted,
        *,
        is_light: bool,
    ) -> Call:
        stays = KeepAlive(None) if wanted.pins else wanted.keep_alive or self._keep_alive
        return Call(
            request_id=request_id,
            model=model,
            frame=frame,
            sink=sink,
            client=wanted.client,
            num_ctx=wanted.num_ctx,
            keep_alive=stays,
            begun=self._clock(),
            is_light=is_light,
            pins=wanted.pins,
        )

    def _put(self, call: Call) -> Ticket:
        key = call.model.shared
        self._house.crashes.check(key)
        if not call.is_light and (waiting := self.num_waiting) >= self._most_waiting:
            raise OverloadedError(
                f"{waiting} requests wait already",
                hint="ask again later; LOCALRUN_MAX_QUEUE is how many may wait",
                retry_after_s=RETRY_S,
            )
        while not (slot := self._slot(key)).put(call):
            self._forget(key, slot)
        return Ticket(call, slot)

    def _slot(self, key: RunnerModel) -> Slot:
        with self._lock:
            self._refuse_when_closing()
            slot = self._slots.get(key)
            if slot is None or slot.is_over:
                slot = self._slots[key] = Slot(key, self._house)
            return slot

    def _forget(self, key: RunnerModel, slot: Slot) -> None:
        with self._lock:
            if self._slots.get(key) is slot:
                del self._slots[key]

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
            for key in [key for key, slot in self._slots.items() if slot.is_over]:
                del self._slots[key]
            return list(self._slots.values())
