"""All loaded models: load on demand, keep alive, unload, start again after a crash.

Blocking and thread-safe; the server calls it from worker threads. Each model has
one `_Slot` with a lock of its own, so that loading one model never makes requests
to another wait, and requests for a model that loads wait together.

A request for a larger context than the loaded one reloads the model when nobody
uses it; in use, or for a smaller context, the loaded one serves: no thrashing.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from localrun.runner.messages import Failed, Finished, Generate, Load, Ready
from localrun.supervisor.memory import available_bytes
from localrun.supervisor.runner import Runner
from localrun.supervisor.spawn import start_runner

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from localrun.runner.messages import Event
    from localrun.supervisor.runner import Sink, Start

_log = logging.getLogger(__name__)

SWEEP_S = 1.0
MEMORY_FACTOR = 1.2  # what a model needs beside its file, roughly


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerModel:
    """Which file to load, under which name."""

    name: str
    path: Path
    digest: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningModel:
    """A loaded model as ``ps`` shows it."""

    name: str
    digest: str
    size_bytes: int
    size_gpu_bytes: int
    num_ctx: int
    num_open: int
    until: datetime | None  # None = for ever


@dataclass(frozen=True, slots=True)
class Ticket:
    """A submitted request; ``load_s`` is what it waited for the model."""

    request_id: int
    load_s: float
    cancel: Callable[[], None]


class RunnerPool:
    """The runners of one server."""

    def __init__(
        self,
        *,
        keep_alive_s: float | None,
        start: Start = start_runner,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keep_alive_s = keep_alive_s
        self._start = start
        self._clock = clock
        self._slots: dict[str, _Slot] = {}
        self._lock = threading.Lock()
        self._request_ids = itertools.count(1)
        self._closing = threading.Event()
        self._last_use = clock()
        threading.Thread(target=self._sweep_until_closed, name="keep-alive", daemon=True).start()

    @property
    def num_open(self) -> int:
        """Return the number of requests that have not ended, over all models."""
        return sum(slot.num_open for slot in self._all_slots())

    @property
    def idle_s(self) -> float:
        """Return how long no request has been open; 0 while one is."""
        return 0.0 if self.num_open else self._clock() - self._last_use

    def submit(
        self,
        model: RunnerModel,
        request: Generate,
        sink: Sink,
        *,
        num_ctx: int | None = None,
        keep_alive_s: float | None = -1.0,
    ) -> Ticket:
        """Load the model if it is not, and generate; blocks only for the load.

        ``request_id`` of the request is given here. ``keep_alive_s`` below 0 is the
        pool's own. Events go to ``sink`` from another thread; the last is the one
        `Finished` or `Failed`.

        Raises:
            LoadError: the model does not load.
        """
        numbered = replace(request, request_id=next(self._request_ids))
        slot = self._slot(model)
        runner, load_s = slot.acquire(num_ctx)

        def to_sink(event: Event) -> None:
            if isinstance(event, Finished | Failed):
                self._last_use = self._clock()
                slot.release(self._own(keep_alive_s))
            sink(event)

        runner.submit(numbered, to_sink)
        return Ticket(numbered.request_id, load_s, lambda: runner.cancel(numbered.request_id))

    def load(
        self, model: RunnerModel, *, num_ctx: int | None = None, keep_alive_s: float | None = -1.0
    ) -> float:
        """Load the model if it is not; return the seconds that took.

        Raises:
            LoadError: the model does not load.
        """
        slot = self._slot(model)
        _, load_s = slot.acquire(num_ctx)
        self._last_use = self._clock()
        slot.release(self._own(keep_alive_s))
        return load_s

    def running(self) -> list[RunningModel]:
        """Return the loaded models, by name."""
        found = [slot.describe() for slot in self._all_slots()]
        return sorted((model for model in found if model), key=lambda model: model.name)

    def unload(self, name: str) -> bool:
        """Unload a model when its open requests have ended; tell whether it was loaded."""
        with self._lock:
            slot = self._slots.get(name)
        return slot.expire() if slot else False

    def close(self) -> None:
        """End all runners; open requests get their error."""
        self._closing.set()
        for slot in self._all_slots():
            slot.close()

    def sweep(self) -> None:
        """Unload what has outlived its keep-alive; called every second by the pool itself."""
        for slot in self._all_slots():
            slot.close_if_expired()

    def _sweep_until_closed(self) -> None:
        while not self._closing.wait(SWEEP_S):
            self.sweep()

    def _own(self, keep_alive_s: float | None) -> float | None:
        is_default = keep_alive_s is not None and keep_alive_s < 0
        return self._keep_alive_s if is_default else keep_alive_s

    def _slot(self, model: RunnerModel) -> _Slot:
        self._make_room(model)
        with self._lock:
            if model.name not in self._slots:
                self._slots[model.name] = _Slot(model, self._start, self._clock)
            return self._slots[model.name]

    def _make_room(self, model: RunnerModel) -> None:
        """Unload idle models, the longest unused first, while memory is short for a new one."""
        with self._lock:
            known = self._slots.get(model.name)
        if known is not None and known.is_loaded:
            return
        for slot in sorted(self._all_slots(), key=lambda slot: slot.last_use):
            if available_bytes() >= model.size_bytes * MEMORY_FACTOR:
                return
            slot.close_if_idle()

    def _all_slots(self) -> list[_Slot]:
        with self._lock:
            return list(self._slots.values())


class _Slot:
    """One model: its runner if it is loaded, and how long it stays."""

    def __init__(self, model: RunnerModel, start: Start, clock: Callable[[], float]) -> None:
        self._model = model
        self._start = start
        self._clock = clock
        self._loading = threading.Lock()  # held while the runner changes
        self._runner: Runner | None = None
        self._ready: Ready | None = None
        self._covered_ctx = 0  # asking for no more than this changes nothing
        self._num_users = 0
        self._counting = threading.Lock()
        self._expires_at: float | None = None
        self.last_use = clock()

    @property
    def num_open(self) -> int:
        """Return the number of requests that have not ended."""
        return self._num_users

    @property
    def is_loaded(self) -> bool:
        """Tell whether a runner is ready."""
        return self._runner is not None and self._runner.is_alive

    def acquire(self, num_ctx: int | None) -> tuple[Runner, float]:
        """Return a runner that is ready, and the seconds its load took; count one user."""
        with self._loading:
            begun = self._clock()
            fits = num_ctx is None or num_ctx <= self._covered_ctx
            if (
                self._runner is None
                or not self._runner.is_alive
                or (not fits and not self._num_users)
            ):
                self._reload(num_ctx)
            if self._runner is None:
                raise RuntimeError("a slot without a runner after its load")
            with self._counting:
                self._num_users += 1
                self._expires_at = None
            return self._runner, self._clock() - begun

    def release(self, keep_alive_s: float | None) -> None:
        """Count one user less; the last one's keep-alive counts from now."""
        with self._counting:
            self._num_users -= 1
            self.last_use = self._clock()
            self._expires_at = None if keep_alive_s is None else self.last_use + keep_alive_s

    def expire(self) -> bool:
        """Unload now, or as soon as nobody uses it; tell whether it was loaded."""
        was_loaded = self.is_loaded
        with self._counting:
            self._expires_at = self._clock()
        self.close_if_expired()
        return was_loaded

    def close_if_expired(self) -> None:
        """Unload when the time is over and nobody uses it."""
        if self._expires_at is not None and self._clock() >= self._expires_at:
            self.close_if_idle()

    def close_if_idle(self) -> None:
        """Unload when nobody uses it and no load is under way."""
        if not self._loading.acquire(blocking=False):
            return
        try:
            if not self._num_users:
                self._unload()
        finally:
            self._loading.release()

    def close(self) -> None:
        """Unload whatever goes on."""
        with self._loading:
            self._unload()

    def describe(self) -> RunningModel | None:
        """Return the row of ``ps``, None when it is not loaded."""
        ready, expires_at = self._ready, self._expires_at
        if not self.is_loaded or ready is None:
            return None
        left = None if expires_at is None else timedelta(seconds=expires_at - self._clock())
        return RunningModel(
            name=self._model.name,
            digest=self._model.digest,
            size_bytes=ready.size_bytes,
            size_gpu_bytes=ready.size_gpu_bytes,
            num_ctx=ready.num_ctx,
            num_open=self._num_users,
            until=None if left is None else datetime.now().astimezone() + left,
        )

    def _reload(self, num_ctx: int | None) -> None:
        self._unload()
        _log.info("loading %s", self._model.name)
        runner = Runner(self._start)
        self._ready = runner.load(Load(model_path=str(self._model.path), num_ctx=num_ctx))
        self._covered_ctx = max(self._ready.num_ctx, num_ctx or 0)  # a model may grant less
        self._runner = runner

    def _unload(self) -> None:
        if self._runner is not None:
            _log.info("unloading %s", self._model.name)
            self._runner.close()
        self._runner, self._ready = None, None
