"""A slot's own thread: it decides what is due, and loads, sends what is next, unloads.

It begins with the slot's first call and ends when nothing is left to do.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from localrun.engine.params import FinishReason
from localrun.runner.messages import Terminal
from localrun.supervisor.loader import ModelLoader

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.runner.messages import Event
    from localrun.supervisor.house import PoolContext
    from localrun.supervisor.request_queue import PendingRequest
    from localrun.supervisor.runner import Runner
    from localrun.supervisor.slot_state import SlotState

_log = logging.getLogger(__name__)

AHEAD = 4  # calls that a runner has beside those that run, so that no sequence of it lies idle


class SlotWorker:
    """Does what is due in one slot; ``give_up`` closes the slot."""

    def __init__(self, state: SlotState, house: PoolContext, give_up: Callable[[], None]) -> None:
        self._state = state
        self._house = house
        self._give_up = give_up
        self._loader = ModelLoader(state, house)
        self._thread: threading.Thread | None = None  # from the first call on

    def start(self) -> None:
        """Begin, once; the caller holds the lock of the state."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._live, name="slot", daemon=True)
            self._thread.start()

    def _live(self) -> None:
        while (act := self._next()) is not None:
            try:
                act()
            except Exception:  # noqa: BLE001 - a bug must not leave requests without an end
                _log.exception("%s cannot go on", self._state.key.name)
                self._give_up()

    def _next(self) -> Callable[[], None] | None:
        state = self._state
        with state.changed:
            while True:
                act = self._due()
                if act is not None:
                    return act
                if state.runner is None and not state.is_wanted and self._is_left():
                    state.is_over = True
                    state.changed.notify_all()
                    return None
                state.is_settled = True
                state.changed.notify_all()
                state.changed.wait_for(lambda: not state.is_settled)

    def _due(self) -> Callable[[], None] | None:
        """Return what is to be done next."""
        state = self._state
        runner = state.runner
        if runner is not None and not runner.is_alive:
            return self._loader.bury if runner.is_gone else None
        if runner is not None and self._may_go() and state.num_running == 0:
            return self._loader.unload
        if state.must_leave and runner is not None:
            return None
        if state.waiting.has_light and runner is not None:
            return self._send(state.waiting.take_light())
        if not state.is_wanted:
            return None
        return self._due_of_line(runner)

    def _may_go(self) -> bool:
        state = self._state
        is_expired = state.holders.drop_expired(self._house.clock())
        return state.must_leave or (is_expired and not state.is_wanted)

    def _is_left(self) -> bool:
        """Return whether no name wants another runner here: one that is pinned does."""
        state = self._state
        return state.is_closed or state.holders.drop_expired(self._house.clock())

    def _due_of_line(self, runner: Runner | None) -> Callable[[], None] | None:
        state = self._state
        is_too_small = state.waiting.num_ctx_in_line > state.num_ctx
        if runner is None or (state.num_running == 0 and is_too_small):
            return self._loader.load
        if state.waiting.num_in_line and state.num_running < self._limit:
            return self._send(state.waiting.take_next(state.running_by_client))
        return None

    @property
    def _limit(self) -> int:
        loaded = self._state.loaded
        return (loaded.num_parallel if loaded else 1) + AHEAD

    def _send(self, call: PendingRequest) -> Callable[[], None]:
        """Take a call as sent, and return what sends it."""
        holders = self._state.holders
        holders.take(call.model.name, call.model.digest, call.keep_alive)
        if call.pins:
            holders.pin(call.model.name)
        self._state.running[call.request_id] = call
        return lambda: self._give(call)

    def _give(self, call: PendingRequest) -> None:
        runner = self._state.runner
        if call.frame is None or runner is None:
            self._finish(call)
            call.end(FinishReason.STOP)
            return

        def to_sink(event: Event) -> None:
            if isinstance(event, Terminal):
                self._finish(call)
            call.pass_on(event)

        runner.submit_frame(call.request_id, call.frame, to_sink)
        if call.is_cancelled:  # after it had been taken out of the line, before it was sent
            runner.cancel(call.request_id)

    def _finish(self, call: PendingRequest) -> None:
        """Count a call of the runner as ended; also called in the runner's thread."""
        state = self._state
        with state.changed:
            del state.running[call.request_id]
            state.last_use = self._house.clock()
            seconds = call.keep_alive.seconds
            expires_at = None if seconds is None else state.last_use + seconds
            state.holders.leave(call.model.name, expires_at)
            state.stir()
        self._house.room.notify()
