"""A place in the pool: a runner while it is loaded, who waits for it and who wants it to stay.

Models that differ only in what a request can choose (adapters, template, system prompt,
sampling) share one.

    other threads    put calls into the line, cancel them, tell names to go; none of it blocks
    its own thread   loads, sends what is next, unloads (`SlotWorker`)

Requests for a model that loads wait together, for one load. A request for a larger
context than the loaded one reloads the model when nobody uses it; in use, or for a
smaller context, the loaded one serves: no thrashing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from localrun.engine.params import FinishReason
from localrun.errors import LoadError, OverloadedError
from localrun.supervisor.runner import GRACE_S
from localrun.supervisor.slot_state import SlotState
from localrun.supervisor.slot_worker import SlotWorker

if TYPE_CHECKING:
    from localrun.errors import LocalrunError
    from localrun.supervisor.house import PoolContext
    from localrun.supervisor.model import RunnerModel
    from localrun.supervisor.request_queue import PendingRequest


class Slot:
    """A runner that may be loaded; all methods are safe from any thread."""

    def __init__(self, key: RunnerModel, house: PoolContext) -> None:
        self._clock = house.clock
        self.state = SlotState(key, house.clock())
        self._keeper = SlotWorker(self.state, house, self._give_up)

    def put(self, call: PendingRequest) -> bool:
        """Let a call wait for its turn; False when the slot is over: another is to take it."""
        state = self.state
        with state.changed:
            if state.is_over or state.is_closed:
                return False
            state.waiting.add(call)
            state.stir()
            self._keeper.start()
        return True

    def cancel(self, call: PendingRequest) -> None:
        """End a call; a load that nobody waits for any more is broken off."""
        state = self.state
        with state.changed:
            call.is_cancelled = True
            waited = state.waiting.remove(call)
            runner = state.runner
            loads = state.loaded is None and not state.is_wanted
            state.stir()
        if waited:
            call.end(FinishReason.CANCELLED)
            if loads and runner is not None:
                runner.close(grace_s=0.0)
        elif runner is not None:
            runner.cancel(call.request_id)

    def expire(self, name: str) -> bool:
        """Let a name go now, or as soon as nobody uses it; return whether it was there.

        Who waits for its load is told that it was stopped.
        """
        state = self.state
        with state.changed:
            was_held = state.holders.expire(name, self._clock()) and state.ready is not None
            stopped = [] if state.ready else state.waiting.take_name(name)
            runner = state.runner if state.loaded is None and not state.is_wanted else None
            state.stir()
        for call in stopped:
            call.fail(LoadError(f"the load of {name} was stopped"))
        if stopped and runner is not None:
            runner.close(grace_s=0.0)
        state.settle()
        return was_held or bool(stopped)

    def drop(self, name: str, digest: str) -> bool:
        """Let a name that means another model now go; return whether it was pinned.

        Its requests, also those that wait for the load, are answered first.
        """
        state = self.state
        with state.changed:
            holder = state.holders.by_name.get(name)
            if holder is None or holder.digest != digest:
                return False  # a request has come for it meanwhile
            was_pinned = holder.is_pinned
            state.holders.expire(name, self._clock())
            state.holders.drop_expired(self._clock())  # at once: `ps` is about to look
            state.stir()
        return was_pinned

    def rename(self, source: str, target: str, digest: str | None = None) -> None:
        """Put another name, or another digest of the model, in the place of a name."""
        state = self.state
        with state.changed:
            if source != target:
                state.holders.rename(source, target)
            if state.loaded_for == source:
                state.loaded_for = target
            holder = state.holders.by_name.get(target)
            if holder is not None:
                holder.digest = digest or holder.digest
            for call in state.calls_for(source):
                call.model = replace(call.model, name=target, digest=digest or call.model.digest)

    def remove(self, name: str, error: LocalrunError) -> None:
        """End all requests for a name by an error, and let it go at once."""
        state = self.state
        with state.changed:
            state.holders.expire(name, self._clock())
            waiting = state.waiting.take_name(name)
            running = state.calls_for(name)
            for call in running:
                call.is_cancelled, call.cancelled_for = True, error
            runner = state.runner
            loads = state.loaded is None and not state.is_wanted
            state.stir()
        for call in waiting:
            call.fail(error)
        if runner is None:
            return
        if waiting and loads:
            runner.close(grace_s=0.0)
        for call in running:
            runner.cancel(call.request_id)

    def wait_until_removed(self, name: str) -> None:
        """Block until nothing of a removed name is left, and the memory if no other name needs it.

        A runner that does not obey is ended, if it works for nobody else.
        """
        state = self.state
        with state.changed:
            state.changed.wait_for(lambda: not state.calls_for(name), GRACE_S)
            left = state.calls_for(name)
            is_alone = len(left) == state.num_running and not state.is_wanted
            runner = state.runner
        if left and is_alone and runner is not None:
            runner.close(grace_s=0.0, reason=f"{name} was removed")
        state.settle()

    def close(self, *, is_hasty: bool = False) -> None:
        """Unload for good whatever goes on, also in the middle of a load."""
        self._close(OverloadedError("the server is leaving"), is_hasty=is_hasty)

    def _give_up(self) -> None:
        """Unload for good: the slot's own thread cannot go on, the log says why."""
        self._close(LoadError("localrun has a bug: see its log for the details"))

    def _close(self, why: LocalrunError, *, is_hasty: bool = False) -> None:
        state = self.state
        with state.changed:
            state.is_closed = True
            waiting = state.waiting.take_all()
            runner = state.runner
            state.stir()
        for call in waiting:
            call.fail(why)
        if runner is not None:
            is_loaded = state.loaded is not None and not is_hasty
            runner.close(grace_s=GRACE_S if is_loaded else 0.0, reason=why.message)
