"""One model's place in the pool: its runner while it is loaded, and how long it stays.

Requests for a model that loads wait together, for one load. A request for a larger
context than the loaded one reloads the model when nobody uses it; in use, or for a
smaller context, the loaded one serves: no thrashing.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from localrun.engine.params import LoadOptions
from localrun.errors import LoadError, OverloadedError
from localrun.supervisor.planning import only_processor, plan_load, smaller_load
from localrun.supervisor.runner import GRACE_S, Runner

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from localrun.runner.messages import Ready
    from localrun.supervisor.planning import Devices, PlannedLoad
    from localrun.supervisor.runner import Start

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerModel:
    """Which file to load, under which name."""

    name: str
    shards: tuple[Path, ...]
    digest: str
    size_bytes: int
    chat_template: str | None = None  # in place of the one in the file
    adapters: tuple[tuple[Path, float], ...] = ()
    num_ctx: int | None = None  # where a request does not say
    num_threads: int | None = None
    num_gpu_layers: int = -1  # -1 = all that fit
    options: LoadOptions = field(default_factory=LoadOptions)
    draft: tuple[Path, ...] = ()  # of a model that guesses tokens, as shards


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """How long a model stays after its last request: 0 = not at all, None = for ever."""

    seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningModel:
    """A loaded model as ``ps`` shows it."""

    name: str
    digest: str
    size_bytes: int
    size_gpu_bytes: int
    num_ctx: int
    num_open: int  # requests that have not ended
    until: datetime | None  # None = for ever, or while requests are open
    planned: PlannedLoad | None = None
    memory: tuple[tuple[str, int], ...] = ()  # (device, bytes taken there)


class Slot:
    """A model that may be loaded; all methods are safe from any thread."""

    def __init__(
        self,
        model: RunnerModel,
        start: Start,
        clock: Callable[[], float],
        devices: Devices = only_processor,
    ) -> None:
        self.model = model
        self._devices = devices
        self._planned: PlannedLoad | None = None
        self.last_use = clock()
        self.num_loads = 0
        self._num_past_crashes = 0  # of runners before the present one
        self._start = start
        self._clock = clock
        self._changing = threading.Lock()  # held while a runner is started or ended
        self._runner: Runner | None = None
        self._ready: Ready | None = None
        self._num_ctx = 0  # the largest that the loaded runner was asked for
        self._is_closed = False
        self._counting = threading.Lock()  # guards the two below, and that a crash counts once
        self._num_users = 0
        self._expires_at: float | None = None

    @property
    def is_loaded(self) -> bool:
        """Tell whether a runner is ready."""
        return self._ready is not None and self._runner is not None and self._runner.is_alive

    @property
    def num_crashes(self) -> int:
        """Return how many runners ended although nobody asked them to."""
        with self._counting:
            runner = self._runner
            return self._num_past_crashes + bool(runner is not None and runner.has_crashed)

    def acquire(self, num_ctx: int | None) -> tuple[Runner, float]:
        """Return a ready runner, counted as used until `release`, and the seconds waited for it.

        Raises:
            LoadError: the model does not load.
        """
        begun = self._clock()
        with self._changing:
            runner = self._serving(num_ctx) or self._load(num_ctx)
            with self._counting:
                self._num_users += 1
                self._expires_at = None
        return runner, self._clock() - begun

    def release(self, keep_alive: KeepAlive) -> None:
        """Count one user less; the keep-alive of the last one to leave holds."""
        with self._counting:
            self._num_users -= 1
            self.last_use = self._clock()
            if not self._num_users and keep_alive.seconds is not None:
                self._expires_at = self.last_use + keep_alive.seconds

    def expire(self) -> bool:
        """Unload now, or as soon as nobody uses it; tell whether it was loaded."""
        was_loaded = self.is_loaded
        with self._counting:
            self._expires_at = self._clock()
        self.close_if_expired()
        return was_loaded

    def close_if_expired(self) -> None:
        """Unload when the time is over and nobody uses it."""
        if self._is_expired():
            self.close_if_idle()

    def close_if_idle(self) -> None:
        """Unload when nobody uses it and no load is under way."""
        if not self._changing.acquire(blocking=False):
            return
        try:
            if not self._num_users:
                self._unload()
        finally:
            self._changing.release()

    def close(self) -> None:
        """Unload for good whatever goes on, also in the middle of a load."""
        self._is_closed = (
            True  # before the runner is looked at: `_load` does it the other way round
        )
        runner = self._runner
        if runner is not None:
            runner.close(grace_s=GRACE_S if self._ready is not None else 0.0)

    def describe(self) -> RunningModel | None:
        """Return the row of ``ps``, None when it is not loaded."""
        ready, expires_at = self._ready, self._expires_at
        if not self.is_loaded or ready is None:
            return None
        left = None if expires_at is None else timedelta(seconds=expires_at - self._clock())
        return RunningModel(
            name=self.model.name,
            digest=self.model.digest,
            size_bytes=ready.size_bytes,
            size_gpu_bytes=ready.size_gpu_bytes,
            num_ctx=ready.num_ctx,
            num_open=self._num_users,
            until=None if left is None else datetime.now().astimezone() + left,
            planned=self._planned,
            memory=ready.memory,
        )

    def _serving(self, num_ctx: int | None) -> Runner | None:
        """Return the loaded runner if it can serve the request as it is."""
        if not self.is_loaded:
            return None
        is_enough = num_ctx is None or num_ctx <= self._num_ctx
        return self._runner if is_enough or self._num_users else None

    def _load(self, num_ctx: int | None) -> Runner:
        self._unload()
        _log.info("loading %s", self.model.name)
        planned = plan_load(self.model, num_ctx, self._devices)
        try:
            runner = self._run(planned, num_ctx)
        except LoadError as error:
            smaller = smaller_load(self.model, num_ctx, self._devices, planned, error)
            if smaller is None:
                raise
            planned, runner = smaller, self._run(smaller, num_ctx)
        self._planned = planned
        self.num_loads += 1
        return runner

    def _run(self, planned: PlannedLoad, num_ctx: int | None) -> Runner:
        runner = self._runner = Runner(self._start)
        if self._is_closed:
            runner.close(grace_s=0.0)
            raise OverloadedError("the server is leaving")
        self._ready = runner.load(planned.load)
        self._num_ctx = max(num_ctx or 0, self._ready.num_ctx)
        return runner

    def _unload(self) -> None:
        if self._runner is not None:
            _log.info("unloading %s", self.model.name)
            self._runner.close()
        with self._counting:
            self._num_past_crashes += self._runner is not None and self._runner.has_crashed
            self._runner, self._ready = None, None

    def _is_expired(self) -> bool:
        with self._counting:
            return self._expires_at is not None and self._clock() >= self._expires_at
