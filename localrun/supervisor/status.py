"""Status of models: one `RunningModel` per name that is served, requested or crashed too often.

Built for `ps` and the APIs from a slot's state as it is read; changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from localrun.runner.messages import Stats

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.supervisor.health import CrashBackoff
    from localrun.supervisor.model import KeepAlive
    from localrun.supervisor.planning import PlannedLoad
    from localrun.supervisor.slots.served_names import ServedName
    from localrun.supervisor.slots.state import SlotState


class ModelState(StrEnum):
    """The state of a model between its first request and the end of its runner."""

    STARTING = "starting"  # waits for memory, for another load, or for its process
    LOADING = "loading"
    READY = "ready"
    BUSY = "busy"
    DRAINING = "draining"  # finishes its requests, then is unloaded
    FAILED = "failed"  # crashed too often, or did not load
    REMOTE = "remote"  # answered by an engine elsewhere


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningModel:
    """A model as `ps` lists it; the sizes are 0 until it is loaded."""

    name: str
    digest: str
    size_bytes: int
    size_gpu_bytes: int
    num_ctx: int
    num_open: int  # requests that have not ended
    until: datetime | None  # None = no limit, or while requests are open
    planned: PlannedLoad | None = None
    memory: tuple[tuple[str, int], ...] = ()  # (device, bytes)
    shared_with: str | None = None  # the name whose entry counts the memory of both
    state: ModelState = ModelState.READY
    progress: float = 1.0  # share of the weights that is loaded
    num_waiting: int = 0  # requests that wait for the load or for their turn
    num_parallel: int = 0  # requests that run together
    stats: Stats = field(default_factory=Stats)  # of the runner
    tokens_per_s: float = 0.0
    is_pinned: bool = False
    reason: str = ""  # of a failure
    retry_after_s: float = 0.0
    num_threads: int = 0
    draft_sources: tuple[str, ...] = ()  # of speculative decoding; empty if it is off
    cpu_variant: str = ""
    keep_alive: KeepAlive | None = None  # of the last request

    @property
    def worker_bytes(self) -> dict[str, int]:
        """Return the memory on workers, by their devices' names."""
        plan = self.planned.plan if self.planned else None
        far = {share.device.name for share in plan.shares if share.device.worker} if plan else set()
        return {name: size for name, size in self.memory if name in far}


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadHistory:
    """The loads and crashes of a model since the server's start."""

    num_loads: int = 0
    num_crashes: int = 0


def slot_status(slot: SlotState, clock: Callable[[], float]) -> list[RunningModel]:
    """Return the models of one slot."""
    if slot.loaded is None:
        state = ModelState.STARTING if slot.runner is None else ModelState.LOADING
        return [_unloaded(slot, name, state) for name in slot.waiting_digests()]
    served_names = slot.served_names()
    first = next(iter(served_names), None)
    models = [
        _loaded(slot, name, served, clock, shared_with=None if name == first else first)
        for name, served in served_names.items()
    ]
    queued = [name for name in slot.waiting_digests() if name not in served_names]
    models += [_unloaded(slot, name, ModelState.STARTING) for name in queued]
    return [model for model in models if model is not None]


def failed_status(crashes: CrashBackoff, listed_names: set[str]) -> list[RunningModel]:
    """Return the models that crashed too often, except names that are listed already."""
    return [
        RunningModel(
            name=failing.name,
            digest="",
            size_bytes=0,
            size_gpu_bytes=0,
            num_ctx=0,
            num_open=0,
            until=None,
            state=ModelState.FAILED,
            reason=failing.reason,
            retry_after_s=failing.retry_after_s,
        )
        for failing in crashes.failing()
        if failing.name not in listed_names
    ]


def _unloaded(slot: SlotState, name: str, state: ModelState) -> RunningModel:
    """Return the status of a name whose requests all wait."""
    num_waiting = slot.num_waiting_for(name)
    return RunningModel(
        name=name,
        digest=slot.waiting_digests().get(name, ""),
        size_bytes=0,
        size_gpu_bytes=0,
        num_ctx=0,
        num_open=num_waiting,
        until=None,
        state=state,
        progress=slot.progress if state is ModelState.LOADING else 0.0,
        num_waiting=num_waiting,
    )


def _loaded(
    slot: SlotState,
    name: str,
    served: ServedName,
    clock: Callable[[], float],
    *,
    shared_with: str | None,
) -> RunningModel | None:
    """Return the status of a served name, or None if the runner has ended meanwhile."""
    loaded, runner = slot.loaded, slot.runner
    if loaded is None or runner is None:
        return None
    ready, adapter_bytes = loaded.ready, runner.adapter_bytes
    num_waiting = slot.num_waiting_for(name)
    return RunningModel(
        name=name,
        digest=served.digest,
        size_bytes=ready.size_bytes + adapter_bytes,
        size_gpu_bytes=ready.size_gpu_bytes + (adapter_bytes if ready.size_gpu_bytes else 0),
        num_ctx=ready.num_ctx,
        num_open=served.num_open + num_waiting,
        until=None if served.is_pinned else _date(served.expires_at, clock),
        planned=loaded.planned,
        memory=ready.memory,
        shared_with=shared_with,
        state=_state(slot, served),
        num_waiting=num_waiting,
        num_parallel=ready.num_parallel,
        stats=runner.stats,
        tokens_per_s=runner.heartbeat.tokens_per_s,
        is_pinned=served.is_pinned,
        num_threads=ready.num_threads,
        draft_sources=ready.draft_sources,
        cpu_variant=ready.cpu_variant,
        keep_alive=served.keep_alive,
    )


def _state(slot: SlotState, served: ServedName) -> ModelState:
    if slot.is_draining:
        return ModelState.DRAINING
    return ModelState.BUSY if served.num_open else ModelState.READY


def _date(at: float | None, clock: Callable[[], float]) -> datetime | None:
    """Return the date of a time of the clock."""
    return None if at is None else datetime.now().astimezone() + timedelta(seconds=at - clock())
