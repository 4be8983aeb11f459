"""The rows of ``ps``: one for each name that holds a runner, waits for one or has failed."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from localrun.supervisor.model import ModelState, RunningModel

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.supervisor.crashes import CrashBackoff
    from localrun.supervisor.served_names import ServedName
    from localrun.supervisor.slot_state import SlotState


def rows_of(slot: SlotState, clock: Callable[[], float]) -> list[RunningModel]:
    """Return the rows of one slot."""
    if slot.ready is None:
        state = ModelState.STARTING if slot.runner is None else ModelState.LOADING
        return [_unloaded(slot, name, state) for name in slot.waiting_names()]
    holders = slot.holders.by_name
    first = next(iter(holders), None)
    rows = [
        _loaded(slot, name, holder, clock, shared_with=None if name == first else first)
        for name, holder in holders.items()
    ]
    queued = [name for name in slot.waiting_names() if name not in holders]
    rows += [_unloaded(slot, name, ModelState.STARTING) for name in queued]
    return [row for row in rows if row is not None]


def failed_rows(crashes: CrashBackoff, known: set[str]) -> list[RunningModel]:
    """Return the rows of models that crashed too often, but for names that have one already."""
    return [
        RunningModel(
            name=one.name,
            digest="",
            size_bytes=0,
            size_gpu_bytes=0,
            num_ctx=0,
            num_open=0,
            until=None,
            state=ModelState.FAILED,
            reason=one.reason,
            retry_after_s=one.retry_after_s,
        )
        for one in crashes.failing()
        if one.name not in known
    ]


def _unloaded(slot: SlotState, name: str, state: ModelState) -> RunningModel:
    """Return the row of a name whose requests all wait."""
    num_waiting = slot.num_waiting_for(name)
    return RunningModel(
        name=name,
        digest=slot.waiting_names().get(name, ""),
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
    holder: ServedName,
    clock: Callable[[], float],
    *,
    shared_with: str | None,
) -> RunningModel | None:
    ready, runner = slot.ready, slot.runner
    if ready is None or runner is None:
        return None
    extra = runner.adapter_bytes
    num_waiting = slot.num_waiting_for(name)
    return RunningModel(
        name=name,
        digest=holder.digest,
        size_bytes=ready.size_bytes + extra,
        size_gpu_bytes=ready.size_gpu_bytes + (extra if ready.size_gpu_bytes else 0),
        num_ctx=ready.num_ctx,
        num_open=holder.num_users + num_waiting,
        until=None if holder.is_pinned else _date(holder.expires_at, clock),
        planned=slot.planned,
        memory=ready.memory,
        shared_with=shared_with,
        state=_state(slot, holder),
        num_waiting=num_waiting,
        num_parallel=ready.num_parallel,
        stats=runner.stats,
        tokens_per_s=runner.pulse.tokens_per_s,
        is_pinned=holder.is_pinned,
        num_threads=ready.num_threads,
        speculates=ready.speculates,
        keep_alive=holder.keep_alive,
    )


def _state(slot: SlotState, holder: ServedName) -> ModelState:
    if slot.must_leave:
        return ModelState.DRAINING
    return ModelState.BUSY if holder.num_users else ModelState.READY


def _date(at: float | None, clock: Callable[[], float]) -> datetime | None:
    """Return the date of a time of the clock."""
    return None if at is None else datetime.now().astimezone() + timedelta(seconds=at - clock())
