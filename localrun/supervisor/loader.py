"""The runner of a slot from its load to its end; runs in the slot's own thread.

A load gets one more try, smaller, where memory was what it wanted. It is broken off when
nobody waits for it any more.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from localrun.errors import LoadError, LocalrunError
from localrun.supervisor.runner import Runner

if TYPE_CHECKING:
    from localrun.supervisor.house import PoolContext
    from localrun.supervisor.planning import PlannedLoad
    from localrun.supervisor.request_queue import PendingRequest
    from localrun.supervisor.reservations import Reservation
    from localrun.supervisor.slot_state import SlotState

_log = logging.getLogger(__name__)


class _BrokenOffError(Exception):
    """Nobody waited for a load any more; who has come since gets another."""


class ModelLoader:
    """Loads and unloads the runner of one slot."""

    def __init__(self, state: SlotState, house: PoolContext) -> None:
        self._state = state
        self._house = house

    def load(self) -> None:
        """Load for all who wait, in place of a runner that is there."""
        state = self._state
        state.is_starting, state.progress = True, 0.0
        try:
            self.unload()
            with state.changed:
                calls = list(state.waiting)
            if calls:
                self._load_for(calls[0], max(call.num_ctx or 0 for call in calls) or None)
        except _BrokenOffError:
            _log.info("the load of %s was broken off", state.loaded_for)
        except LocalrunError as error:
            self._fail(error)
        except OSError as error:  # such as: too many open files
            self._fail(LoadError(f"a runner cannot be started: {error.strerror or error}"))
        finally:
            state.is_starting = False

    def unload(self) -> None:
        """End the runner, if there is one."""
        state = self._state
        runner = state.runner
        if runner is not None:
            _log.info("unloading %s", state.loaded_for)
            runner.close()
        with state.changed:
            state.runner, state.loaded, state.must_leave = None, None, False
            state.holders.drop_idle()
        self._house.room.freed()

    def bury(self) -> None:
        """Take leave of a runner that has ended."""
        state = self._state
        runner = state.runner
        if runner is not None and runner.has_crashed:
            self._house.crashes.note(state.key, state.loaded_for, runner.obituary())
        with state.changed:
            state.holders.drop_idle()
        self.unload()

    def _load_for(self, first: PendingRequest, num_ctx: int | None) -> None:
        house, state, model = self._house, self._state, first.model
        house.crashes.check(state.key)
        claim = house.room.claim(state, model, num_ctx)
        if claim is None:
            return  # nobody wants it any more
        begun = house.clock()
        with claim:
            self._load_claimed(claim, first)
        house.loads[model.name] += 1
        with state.changed:
            state.ready_at = house.clock()
            state.load_s = state.ready_at - begun
            for call in state.waiting:
                call.load_s = state.ready_at - call.begun

    def _load_claimed(self, claim: Reservation, first: PendingRequest) -> None:
        name = first.model.name
        self._state.loaded_for = name
        first.context.run(_log.info, "loading %s", name)
        plan = claim.planned.plan
        if plan is not None and not plan.fits:
            _log.warning("%s may not fit: %s", name, "; ".join(plan.advice))
        try:
            self._run(claim.planned, claim.num_ctx)
        except LoadError as error:
            smaller = claim.smaller(error)
            if smaller is None or not self._state.is_wanted:
                raise
            self._run(smaller, claim.num_ctx)

    def _run(self, planned: PlannedLoad, num_ctx: int | None) -> None:
        state = self._state
        runner = Runner(self._house.start, state.stir)
        with state.changed:
            state.runner = runner
            is_wanted = state.is_wanted
        if not is_wanted:
            runner.close(grace_s=0.0)
        try:
            ready = runner.load(planned.load, self._note_progress)
        except BaseException as error:
            self._note_failure(runner, error)
            if runner.was_broken_off:
                raise _BrokenOffError from error
            raise
        with state.changed:
            state.loaded, state.planned = ready, planned
            state.num_ctx = max(num_ctx or 0, ready.num_ctx)

    def _note_progress(self, fraction: float) -> None:
        self._state.progress = fraction

    def _note_failure(self, runner: Runner, error: BaseException) -> None:
        state = self._state
        with state.changed:
            state.runner = None
        if runner.has_crashed and not runner.was_broken_off:
            self._house.crashes.note(state.key, state.loaded_for, str(error))

    def _fail(self, error: LocalrunError) -> None:
        """Tell who waits that the load failed."""
        state = self._state
        with state.changed:
            waiting = state.waiting.take_all()
            state.must_leave = False
        for call in waiting:
            call.fail(error)
