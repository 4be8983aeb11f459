"""Runner pool of one server: loads models on demand and finds the slot of each request.

Owns the slots and connects them with the load queue, the health monitor and crash back-off; knows
nothing of the store. Thread-safe, and `submit` does not block: the events of a request go to its
sink. Each slot has a worker thread, so that a load never delays requests for another model.
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
from localrun.runner.messages import Detokenize, Generate, Tokenize
from localrun.supervisor.devices import available_bytes, only_processor
from localrun.supervisor.draft_choice import recipe_draft
from localrun.supervisor.health import CrashBackoff, HealthMonitor
from localrun.supervisor.load_queue import LoadQueue
from localrun.supervisor.loader import PoolContext
from localrun.supervisor.memory_history import MemoryHistory
from localrun.supervisor.model import KeepAlive, RequestOptions
from localrun.supervisor.planning import DEFAULT_RULES
from localrun.supervisor.projector_failures import ProjectorFailures
from localrun.supervisor.reservations import DeviceMemory
from localrun.supervisor.runner import encode_request
from localrun.supervisor.runner_process import start_runner
from localrun.supervisor.slots.request_queue import PendingLoad, PendingRequest, RequestHandle
from localrun.supervisor.slots.slot import PoolNames, Slot
from localrun.supervisor.status import LoadHistory, ModelState, failed_status, slot_status
from localrun.supervisor.worker_offers import ServerWorkers

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.load_rules import LoadRules
    from localrun.runner.messages import Submitted
    from localrun.supervisor.draft_choice import Drafts
    from localrun.supervisor.model import RunnerModel
    from localrun.supervisor.planning import Devices
    from localrun.supervisor.runner import Sink
    from localrun.supervisor.runner_process import StartedRunner, StartProcess
    from localrun.supervisor.slots.state import SlotState
    from localrun.supervisor.status import RunningModel

MAX_WAITING = 512
RETRY_S = 5.0


class RunnerPool:
    """The runners of one server."""

    def __init__(  # noqa: PLR0913 - each has a default
        self,
        *,
        keep_alive_s: float | None,
        start: StartProcess = start_runner,
        clock: Callable[[], float] = time.monotonic,
        free_bytes: Callable[[], int] = available_bytes,
        devices: Devices = only_processor,
        invalidate_devices: Callable[[], None] = lambda: None,
        memory_history: MemoryHistory | None = None,
        max_waiting: int = MAX_WAITING,
        rules: LoadRules = DEFAULT_RULES,
        workers: ServerWorkers | None = None,
        drafts: Drafts = recipe_draft,
        health_timeout_scale: float = 1.0,  # of the timeouts for runners that hang
    ) -> None:
        self._keep_alive = KeepAlive(keep_alive_s, source="default")
        self._start = start
        self._clock = clock
        self._max_waiting = max_waiting
        # Guards the slots and the load counts; no other lock is taken under it.
        self._lock = threading.Lock()
        self._slots: dict[RunnerModel, Slot] = {}  # by the part that models on one runner share
        self._num_loads: Counter[str] = Counter()
        self._request_ids = itertools.count(1)
        self._closing = threading.Event()
        self._has_names = threading.Event()  # may be set without a name, never unset with a new one
        memory = DeviceMemory(
            devices=devices,
            history=memory_history or MemoryHistory(),
            free_bytes=free_bytes,
            invalidate=invalidate_devices,
            drafts=drafts,
        )
        self._workers = workers or ServerWorkers()
        self._context = PoolContext(
            start_process=self._start_process,
            clock=clock,
            load_queue=LoadQueue(memory, self._slot_states, clock, rules),
            crashes=CrashBackoff(clock),
            projectors=ProjectorFailures(),
            count_load=self._count_load,
            on_action=self._on_action,
            workers=self._workers,
        )
        self.names = PoolNames(self._all_slots, self._context.crashes)
        # Linux kills a runner with the thread that started it, so that thread lives with the pool
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="runner-start")
        self._monitor = HealthMonitor(
            self._slot_states, self._closing, health_timeout_scale, rules.timeout_s
        )
        self._monitor.start()

    @property
    def is_closing(self) -> bool:
        """Return whether requests are refused because the pool closes."""
        return self._closing.is_set()

    @property
    def num_waiting(self) -> int:
        """Return the number of requests that wait for a load or for their turn."""
        return sum(state.num_waiting for state in self._slot_states())

    def submit(
        self,
        model: RunnerModel,
        request: Submitted,
        sink: Sink,
        options: RequestOptions | None = None,
    ) -> RequestHandle:
        """Queue a request until the model is loaded and it is its turn; does not block.

        The pool replaces ``request_id``. Other threads pass the events to ``sink``; the last one is
        the only `Terminal`. If this raises, the sink is not called.

        Raises:
            OverloadedError: too many requests wait, the model crashed too often, or the server
                is shutting down.
            UsageError: the request cannot be encoded.
        """
        return self._put(self._pending(model, request, sink, options))

    def begin_load(self, model: RunnerModel, options: RequestOptions | None = None) -> PendingLoad:
        """Load the model unless it is loaded; does not block.

        Raises:
            OverloadedError: see `submit`.
        """
        load = PendingLoad()
        load.handle = self.submit_load(model, load, options)
        return load

    def submit_load(
        self, model: RunnerModel, sink: Sink, options: RequestOptions | None = None
    ) -> RequestHandle:
        """Load the model unless it is loaded; the terminal event goes to ``sink``.

        Raises:
            OverloadedError: see `submit`.
        """
        return self._put(self._pending(model, None, sink, options))

    def load(self, model: RunnerModel, options: RequestOptions | None = None) -> float:
        """Load the model unless it is loaded; return the seconds that it took; blocks.

        Raises:
            LoadError: the model does not load.
            OverloadedError: see `submit`.
        """
        return self.begin_load(model, options).wait()

    def running(self) -> list[RunningModel]:
        """Return the loaded models, sorted by name; several may share one runner."""
        unloaded = {ModelState.STARTING, ModelState.LOADING, ModelState.FAILED}
        return [model for model in self.states() if model.state not in unloaded]

    def states(self) -> list[RunningModel]:
        """Return all models that are loaded, requested or crashed too often, sorted by name."""
        models = [model for slot in self._slot_states() for model in slot_status(slot, self._clock)]
        models += failed_status(self._context.crashes, {model.name for model in models})
        return sorted(models, key=lambda model: model.name)

    def load_history(self) -> dict[str, LoadHistory]:
        """Return the numbers of loads and crashes, by the name in the request."""
        with self._lock:
            loads = self._num_loads.copy()
        crashes = self._context.crashes.counts()
        names = loads.keys() | crashes.keys()
        return {
            name: LoadHistory(num_loads=loads[name], num_crashes=crashes[name]) for name in names
        }

    def unload(self, name: str) -> bool:
        """Unload a model when its open requests have ended; return whether it was loaded.

        Its runner ends with its last served name. A load is aborted.
        """
        spellings = self.names.matching(name)
        slots = self._all_slots()  # a file that has changed has two
        were_loaded = [slot.expire(spelling) for spelling in spellings for slot in slots]
        return any(were_loaded)

    def close(self, *, is_hasty: bool = False) -> None:
        """End all runners, also while they load; open requests fail."""
        with self._lock:
            self._closing.set()
        self._on_action()
        slots = self._all_slots()
        threads = [
            threading.Thread(target=slot.close, kwargs={"is_hasty": is_hasty}) for slot in slots
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self._context.load_queue.notify()
        self._workers.close()
        self._starter.shutdown()

    def settle(self) -> None:
        """Block until models whose keep-alive is over are unloaded."""
        for slot in self._slot_states():
            slot.settle()

    def wait_for_names(self) -> bool:
        """Block until a name is loaded, or the pool closes; return whether it is open.

        One thread may wait.
        """
        while not self._closing.is_set():
            self._has_names.clear()
            if self.names.loaded():
                return True
            self._has_names.wait()
        return False

    def wait_for_close(self, timeout_s: float) -> bool:
        """Block until the pool closes, at most ``timeout_s``; return whether it closes."""
        return self._closing.wait(timeout_s)

    def _pending(
        self,
        model: RunnerModel,
        request: Submitted | None,
        sink: Sink,
        options: RequestOptions | None,
    ) -> PendingRequest:
        """Return a request that is not queued yet; None for ``request`` asks for the load alone."""
        options = options or RequestOptions()
        request_id = next(self._request_ids)
        frame = None
        if request is not None:
            if isinstance(request, Generate):
                request = replace(request, is_background=options.is_background)
            frame = encode_request(replace(request, request_id=request_id))
        keep_alive = options.keep_alive or self._keep_alive
        return PendingRequest(
            request_id=request_id,
            model=model,
            frame=frame,
            sink=sink,
            client=options.client,
            num_ctx=options.num_ctx,
            keep_alive=KeepAlive(None) if options.pins else keep_alive,
            submitted_at=self._clock(),
            bypasses_queue=isinstance(request, Tokenize | Detokenize),
            pins=options.pins,
            is_background=options.is_background,
        )

    def _put(self, request: PendingRequest) -> RequestHandle:
        key = request.model.shared
        self._context.crashes.check(key)
        if not request.bypasses_queue and (num_waiting := self.num_waiting) >= self._max_waiting:
            raise OverloadedError(
                f"the server is busy: {num_waiting} requests wait already",
                hint="ask again later; LOCALRUN_MAX_QUEUE is how many may wait",
                retry_after_s=RETRY_S,
            )
        while not (slot := self._slot(key)).put(request):
            self._forget(key, slot)
        return RequestHandle(request, slot.cancel)

    def _slot(self, key: RunnerModel) -> Slot:
        with self._lock:
            self._refuse_when_closing()
            slot = self._slots.get(key)
            if slot is None or slot.state.is_over:
                slot = self._slots[key] = Slot(key, self._context)
            return slot

    def _forget(self, key: RunnerModel, slot: Slot) -> None:
        with self._lock:
            if self._slots.get(key) is slot:
                del self._slots[key]

    def _start_process(self) -> StartedRunner:
        with self._lock:
            self._refuse_when_closing()
            started = self._starter.submit(self._start)
        return started.result()

    def _count_load(self, name: str) -> None:
        with self._lock:
            self._num_loads[name] += 1

    def _on_action(self) -> None:
        """Wake the threads that sleep while no slot has work; called before each action."""
        self._monitor.wake()
        if not self._has_names.is_set():
            self._has_names.set()

    def _refuse_when_closing(self) -> None:
        if self._closing.is_set():
            raise OverloadedError("the server is leaving")

    def _all_slots(self) -> list[Slot]:
        with self._lock:
            for key in [key for key, slot in self._slots.items() if slot.state.is_over]:
                del self._slots[key]
            return list(self._slots.values())

    def _slot_states(self) -> list[SlotState]:
        return [slot.state for slot in self._all_slots()]
