"""Slots of a pool: one runner each, with its requests, and the names that refer to them.

Models that differ only in what a request can choose (adapters, template, system prompt, sampling)
share a slot. `SlotState` owns its state and the slot's worker loads, sends and unloads;
this module has the operations of other threads. None of them holds a lock while it ends requests.

Requests for a model that loads wait together, for one load. A request for a larger context than
the loaded one reloads the model when it is idle; while it is in use, or for a smaller context, the
loaded runner serves, so that requests of different sizes do not reload a model in turn. Likewise a
request that names another draft model reloads an idle model; any other takes the runner as it is.

A name of the store may go or mean another model while requests for it run. The pool knows nothing
of the store, whose user calls:

    rename    the store has the model under another name: nothing is loaded again
    drop      the name means another model: its requests are answered, then the memory is free
    remove    the name is gone: its requests end with an error, and the memory is free
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.engine.params import FinishReason
from localrun.errors import LoadError, OverloadedError
from localrun.names.adapters import is_same_name
from localrun.supervisor.runner import GRACE_S
from localrun.supervisor.slots.state import SlotState
from localrun.supervisor.slots.worker import SlotWorker

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.errors import LocalrunError
    from localrun.supervisor.health import CrashBackoff
    from localrun.supervisor.loader import PoolContext
    from localrun.supervisor.model import RunnerModel
    from localrun.supervisor.slots.contents import RemovedRequests
    from localrun.supervisor.slots.request_queue import PendingRequest


class Slot:
    """A runner that may be loaded; all methods are safe from any thread."""

    def __init__(self, key: RunnerModel, context: PoolContext) -> None:
        self.state = SlotState(key, context.clock)
        self._worker = SlotWorker(self.state, context, self._give_up)

    def put(self, request: PendingRequest) -> bool:
        """Queue a request; return False if the slot is over and another one has to take it."""
        is_queued = self.state.enqueue(request)
        if is_queued:
            self._worker.start()
        return is_queued

    def cancel(self, request: PendingRequest) -> None:
        """End a request; abort a load that no other request waits for."""
        _end(self.state.cancel(request), lambda waiting: waiting.finish(FinishReason.CANCELLED))

    def expire(self, name: str) -> bool:
        """Unload a name now, or when its requests have ended; return whether it was there.

        Requests that wait for its load fail.
        """
        removed = self.state.expire_name(name)
        _end(removed, lambda waiting: waiting.fail(LoadError(f"the load of {name} was stopped")))
        self.state.settle()
        return removed.was_served or bool(removed.waiting)

    def remove(self, name: str, error: LocalrunError) -> None:
        """End all requests for a name with an error, and let the name expire at once."""
        _end(self.state.remove_name(name, error), lambda waiting: waiting.fail(error))

    def wait_until_removed(self, name: str) -> None:
        """Block until a removed name has no requests, and no memory unless another name needs it.

        A runner that does not cancel in time is ended if it works for no other name.
        """
        runner = self.state.wait_until_removed(name, GRACE_S)
        if runner is not None:
            runner.close(grace_s=0.0, reason=f"{name} was removed")
        self.state.settle()

    def close(self, *, is_hasty: bool = False) -> None:
        """Unload for good, also in the middle of a load or of requests."""
        self._close(OverloadedError("the server is leaving"), is_hasty=is_hasty)

    def _give_up(self) -> None:
        """Unload for good because the worker failed; the log has the exception."""
        self._close(LoadError("localrun has a bug: see its log for the details"))

    def _close(self, error: LocalrunError, *, is_hasty: bool = False) -> None:
        removed = self.state.close()
        for request in removed.waiting:
            request.fail(error)
        if removed.runner is not None:
            is_forced = removed.aborts_load or is_hasty
            removed.runner.close(grace_s=0.0 if is_forced else GRACE_S, reason=error.message)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedName:
    """Name of a loaded model, or of a model that crashed too often."""

    name: str
    digest: str
    model: RunnerModel  # the part that models on one runner share
    slot: Slot | None  # None if it crashed too often


class PoolNames:
    """The names of one pool; all methods are safe from any thread."""

    def __init__(self, slots: Callable[[], list[Slot]], crashes: CrashBackoff) -> None:
        self._slots = slots
        self._crashes = crashes

    def loaded(self) -> list[LoadedName]:
        """Return the names that keep a runner loaded, and those that crashed too often."""
        served_names = [
            LoadedName(name=name, digest=served.digest, model=slot.state.key, slot=slot)
            for slot in self._slots()
            for name, served in slot.state.served_names().items()
        ]
        failing_names = [
            LoadedName(name=failing.name, digest="", model=failing.model, slot=None)
            for failing in self._crashes.failing()
        ]
        return served_names + failing_names

    def matching(self, name: str) -> list[str]:
        """Return the spellings of a name in requests and served names."""
        spellings = {spelling for slot in self._slots() for spelling in slot.state.names()}
        return [spelling for spelling in sorted(spellings) if is_same_name(spelling, name)]

    def all(self) -> list[str]:
        """Return all names that are served, requested or crashed too often."""
        failing = {failing.name for failing in self._crashes.failing()}
        return sorted(failing.union(*(slot.state.names() for slot in self._slots())))

    def rename(self, source: str, target: str) -> None:
        """Replace a name in all requests, served names and crashes."""
        self._crashes.rename(source, target)
        for slot in self._slots():
            slot.state.rename(source, target)

    def correct(self, loaded: LoadedName, name: str, digest: str | None) -> None:
        """Replace a loaded name by the store's spelling and digest of it."""
        if loaded.slot is not None:
            loaded.slot.state.rename(loaded.name, name, digest)

    def drop(self, loaded: LoadedName) -> bool:
        """Release a name that means another model now; return whether it was pinned."""
        if loaded.slot is None:
            self._crashes.forget(loaded.model)
            return False
        return loaded.slot.state.release_name(loaded.name, loaded.digest)

    def remove(self, name: str, error: LocalrunError) -> None:
        """End the requests for a name with an error; blocks until its memory is free."""
        slots = [slot for slot in self._slots() if name in slot.state.names()]
        for slot in slots:
            slot.remove(name, error)
        for slot in slots:
            slot.wait_until_removed(name)


def _end(removed: RemovedRequests, end_waiting: Callable[[PendingRequest], None]) -> None:
    """End removed requests, and abort the load that they waited for."""
    for request in removed.waiting:
        end_waiting(request)
    runner = removed.runner
    if runner is None:
        return
    if removed.waiting and removed.aborts_load:
        runner.close(grace_s=0.0)
    for request in removed.running:
        runner.cancel(request.request_id)
