"""A place in the pool: a runner while it is loaded, and who wants it to stay.

Models that differ only in what a request can choose (adapters, template, system prompt,
sampling) share one.

Requests for a model that loads wait together, for one load. A request for a larger
context than the loaded one reloads the model when nobody uses it; in use, or for a
smaller context, the loaded one serves: no thrashing.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from localrun.engine.params import LoadOptions
from localrun.errors import LoadError, OverloadedError
from localrun.runner.messages import Stats
from localrun.supervisor.holders import Holders
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
    """Which files to load, under which name."""

    name: str
    shards: tuple[Path, ...]
    digest: str
    size_bytes: int
    chat_template: str | None = None  # that of its requests, to be ready early
    num_ctx: int | None = None  # where a request does not say
    num_threads: int | None = None
    num_gpu_layers: int = -1  # -1 = all that fit
    options: LoadOptions = field(default_factory=LoadOptions)
    draft: tuple[Path, ...] = ()  # of a model that guesses tokens, as shards
    weights: tuple[str, ...] = ()  # digests of the shards, where they are known
    adapters: tuple[tuple[str, float], ...] = ()  # for embeddings; who generates says it each time

    @property
    def shared(self) -> RunnerModel:
        """Return what is equal for models that one runner can serve: all that a load needs."""
        nameless = replace(self, name="", size_bytes=0, chat_template=None)
        return replace(nameless, digest="", shards=()) if self.weights else nameless


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
    shared_with: str | None = None  # the name whose line counts the memory of both
    stats: Stats = field(default_factory=Stats)  # of the runner


class Slot:
    """A runner that may be loaded; all methods are safe from any thread."""

    def __init__(
        self, start: Start, clock: Callable[[], float], devices: Devices = only_processor
    ) -> None:
        self._devices = devices
        self._planned: PlannedLoad | None = None
        self.last_use = clock()
        self._num_loads: Counter[str] = Counter()  # by the name that was asked for
        self._num_past_crashes: Counter[str] = Counter()  # of runners before the present one
        self._loaded_for = ""
        self._start = start
        self._clock = clock
        self._changing = threading.Lock()  # held while a runner is started or ended
        self._runner: Runner | None = None
        self._ready: Ready | None = None
        self._num_ctx = 0  # the largest that the loaded runner was asked for
        self._is_closed = False
        self._counting = threading.Lock()  # guards the names, and that a crash counts once
        self._holders = Holders()

    @property
    def is_loaded(self) -> bool:
        """Tell whether a runner is ready."""
        return self._ready is not None and self._runner is not None and self._runner.is_alive

    @property
    def num_loads(self) -> Counter[str]:
        """Return how often a runner was loaded, by the name that it was loaded for."""
        return self._num_loads.copy()

    @property
    def num_crashes(self) -> Counter[str]:
        """Return how many runners ended although nobody asked them to, by the same name."""
        with self._counting:
            found = self._num_past_crashes.copy()
            if self._runner is not None and self._runner.has_crashed:
                found[self._loaded_for] += 1
            return found

    def acquire(self, model: RunnerModel, num_ctx: int | None) -> tuple[Runner, float]:
        """Return a ready runner, counted as used until `release`, and the seconds waited for it.

        Raises:
            LoadError: the model does not load.
        """
        begun = self._clock()
        with self._changing:
            runner = self._serving(num_ctx) or self._load(model, num_ctx)
            with self._counting:
                self._holders.take(model.name, model.digest)
        return runner, self._clock() - begun

    def release(self, name: str, keep_alive: KeepAlive) -> None:
        """Count one user less; the keep-alive of a name's last one to leave holds."""
        with self._counting:
            self.last_use = self._clock()
            seconds = keep_alive.seconds
            self._holders.leave(name, None if seconds is None else self.last_use + seconds)

    def expire(self, name: str) -> bool:
        """Let a name go now, or as soon as nobody uses it; tell whether it was loaded."""
        was_loaded = self.is_loaded
        with self._counting:
            was_held = self._holders.expire(name, self._clock())
        self.close_if_expired()
        return was_held and was_loaded

    def close_if_expired(self) -> None:
        """Forget the names whose time is over, and unload when none is left."""
        with self._counting:
            is_over = self._holders.drop_expired(self._clock())
        if is_over and self._runner is not None:
            self._close_if(lambda: not self._holders.by_name)

    def close_if_idle(self) -> None:
        """Unload when nobody uses it and no load is under way."""
        self._close_if(lambda: not self._holders.num_users)

    def close(self) -> None:
        """Unload for good whatever goes on, also in the middle of a load."""
        self._is_closed = (
            True  # before the runner is looked at: `_load` does it the other way round
        )
        runner = self._runner
        if runner is not None:
            runner.close(grace_s=GRACE_S if self._ready is not None else 0.0)

    def describe(self) -> list[RunningModel]:
        """Return the rows of ``ps``, one for each name; none when it is not loaded."""
        ready, runner = self._ready, self._runner
        if not self.is_loaded or ready is None or runner is None:
            return []
        with self._counting:
            holders = self._holders.by_name
        first = next(iter(holders), None)
        extra = runner.adapter_bytes
        return [
            RunningModel(
                name=name,
                digest=holder.digest,
                size_bytes=ready.size_bytes + extra,
                size_gpu_bytes=ready.size_gpu_bytes + (extra if ready.size_gpu_bytes else 0),
                num_ctx=ready.num_ctx,
                num_open=holder.num_users,
                until=self._date(holder.expires_at),
                shared_with=None if name == first else first,
                planned=self._planned,
                memory=ready.memory,
                stats=runner.stats,
            )
            for name, holder in holders.items()
        ]

    def _date(self, at: float | None) -> datetime | None:
        """Return the date of a time of the clock."""
        if at is None:
            return None
        return datetime.now().astimezone() + timedelta(seconds=at - self._clock())

    def _close_if(self, may: Callable[[], bool]) -> None:
        """Unload when it may be and no load is under way."""
        if not self._changing.acquire(blocking=False):
            return
        try:
            if may():
                self._unload()
                with self._counting:
                    self._holders.drop_idle()
        finally:
            self._changing.release()

    def _serving(self, num_ctx: int | None) -> Runner | None:
        """Return the loaded runner if it can serve the request as it is."""
        if not self.is_loaded:
            return None
        is_enough = num_ctx is None or num_ctx <= self._num_ctx
        return self._runner if is_enough or self._holders.num_users else None

    def _load(self, model: RunnerModel, num_ctx: int | None) -> Runner:
        if not self.is_loaded:  # it crashed: what held it is gone
            with self._counting:
                self._holders.drop_idle()
        self._unload()
        _log.info("loading %s", model.name)
        self._loaded_for = model.name
        planned = plan_load(model, num_ctx, self._devices)
        try:
            runner = self._run(planned, num_ctx)
        except LoadError as error:
            smaller = smaller_load(model, num_ctx, self._devices, planned, error)
            if smaller is None:
                raise
            planned, runner = smaller, self._run(smaller, num_ctx)
        self._planned = planned
        self._num_loads[model.name] += 1
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
            _log.info("unloading %s", self._loaded_for)
            self._runner.close()
        with self._counting:
            if self._runner is not None and self._runner.has_crashed:
                self._num_past_crashes[self._loaded_for] += 1
            self._runner, self._ready = None, None
