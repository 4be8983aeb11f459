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
from dataclasses import replace
from typing import TYPE_CHECKING

from localrun.errors import OverloadedError
from localrun.runner.messages import Detokenize, Tokenize
from localrun.supervisor.crashes import CrashBackoff
from localrun.supervisor.handles import PendingLoad, RequestHandle
from localrun.supervisor.health import HealthMonitor
from localrun.supervisor.house import PoolContext
from localrun.supervisor.load_queue import LoadQueue
from localrun.supervisor.memory import available_bytes
from localrun.supervisor.memory_history import MemoryHistory
from localrun.supervisor.model import KeepAlive, LoadHistory, ModelState, RequestOptions
from localrun.supervisor.names import PoolNames
from localrun.supervisor.planning import only_processor
from localrun.supervisor.request_queue import PendingRequest
from localrun.supervisor.reservations import DeviceMemory
from localrun.supervisor.runner import frame_of
from localrun.supervisor.runner_process import start_runner
from localrun.supervisor.slot import Slot
from localrun.supervisor.status import failed_rows, rows_of

if TYPE_CHECKING:
    import socket
    import subprocess
    from collections.abc import Callable

    from localrun.runner.messages import Submitted
    from localrun.supervisor.model import RunnerModel, RunningModel
    from localrun.supervisor.planning import Devices
    from localrun.supervisor.runner import Sink, Start
    from localrun.supervisor.slot_state import SlotState

MOST_WAITING = 512
RETRY_S = 5.0


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
        needs: MemoryHistory | None = None,
        most_waiting: int = MOST_WAITING,
        patience: float = 1.0,  # of the watch over runners that hang; scales its times
    ) -> None:
        self._keep_alive = KeepAlive(keep_alive_s, source="default")
        self._start = start
        self._clock = clock
        self._most_waiting = most_waiting
        self._lock = threading.Lock()
        self._slots: dict[RunnerModel, Slot] = {}  # by what models must share to share a runner
        self._request_ids = itertools.count(1)
        self._closing = threading.Event()
        memory = DeviceMemory(
            devices=devices,
            needs=needs or MemoryHistory(),
            free_bytes=free_bytes,
            forget=forget,
        )
        self._house = PoolContext(
            start=self._start_runner,
            clock=clock,
            room=LoadQueue(memory, self._all_states, clock),
            crashes=CrashBackoff(clock),
            loads=Counter(),
        )
        self.names = PoolNames(self._all_slots, self._house.crashes)
        # Linux kills a runner with the thread that started it, so that thread lives with the pool
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="runner-start")
        HealthMonitor(self._all_states, self._closing, patience).start()

    @property
    def is_closing(self) -> bool:
        """Return whether no more requests are taken."""
        return self._closing.is_set()

    @property
    def num_waiting(self) -> int:
        """Return how many requests wait, for a load or for their turn."""
        return sum(state.num_waiting for state in self._all_states())

    def submit(
        self,
        model: RunnerModel,
        request: Submitted,
        sink: Sink,
        wanted: RequestOptions | None = None,
    ) -> RequestHandle:
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
        wanted = wanted or RequestOptions()
        return self._put(self._call(request_id, model, frame, sink, wanted, is_light=is_light))

    def begin_load(self, model: RunnerModel, wanted: RequestOptions | None = None) -> PendingLoad:
        """Load the model if it is not; who wants to know waits for the result.

        Raises:
            OverloadedError: as for `submit`.
        """
        loading = PendingLoad()
        number = next(self._request_ids)
        loading.ticket = self._put(
            self._call(number, model, None, loading, wanted or RequestOptions(), is_light=False)
        )
        return loading

    def load(self, model: RunnerModel, wanted: RequestOptions | None = None) -> float:
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
        found = [row for state in self._all_states() for row in rows_of(state, self._clock)]
        found += failed_rows(self._house.crashes, {row.name for row in found})
        return sorted(found, key=lambda row: row.name)

    def history(self) -> dict[str, LoadHistory]:
        """Return how often models were loaded and crashed, by the name that was asked for."""
        loads, crashes = self._house.loads.copy(), self._house.crashes.counts()
        names = loads.keys() | crashes.keys()
        return {
            name: LoadHistory(num_loads=loads[name], num_crashes=crashes[name]) for name in names
        }

    def unload(self, name: str) -> bool:
        """Let a model go when its open requests have ended; return whether it was there.

        Its runner ends with the last name that holds it. A load is broken off.
        """
        spelled = self.names.matching(name)
        slots = self._all_slots()  # a changed file has two
        were_there = [slot.expire(one) for one in spelled for slot in slots]
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
        for state in self._all_states():
            state.settle()

    def _call(
        self,
        request_id: int,
        model: RunnerModel,
        frame: bytes | None,
        sink: Sink,
        wanted: RequestOptions,
        *,
        is_light: bool,
    ) -> PendingRequest:
        stays = KeepAlive(None) if wanted.pins else wanted.keep_alive or self._keep_alive
        return PendingRequest(
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

    def _put(self, call: PendingRequest) -> RequestHandle:
        key = call.model.shared
        self._house.crashes.check(key)
        if not call.is_light and (waiting := self.num_waiting) >= self._most_waiting:
            raise OverloadedError(
                f"the server is busy: {waiting} requests wait already",
                hint="ask again later; LOCALRUN_MAX_QUEUE is how many may wait",
                retry_after_s=RETRY_S,
            )
        while not (slot := self._slot(key)).put(call):
            self._forget(key, slot)
        return RequestHandle(call, slot)

    def _slot(self, key: RunnerModel) -> Slot:
        with self._lock:
            self._refuse_when_closing()
            slot = self._slots.get(key)
            if slot is None or slot.state.is_over:
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
            for key in [key for key, slot in self._slots.items() if slot.state.is_over]:
                del self._slots[key]
            return list(self._slots.values())

    def _all_states(self) -> list[SlotState]:
        return [slot.state for slot in self._all_slots()]
