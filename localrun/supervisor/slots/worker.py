"""Worker thread of one slot: loads, sends requests to the runner and unloads, one action at a time.

`SlotState.wait_for_action` decides; this thread alone starts and ends the slot's runner, besides
aborts. It begins with the slot's first request and ends when nothing is left to do.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from localrun.engine.params import FinishReason
from localrun.runner.messages import Terminal
from localrun.supervisor.loader import ModelLoader
from localrun.supervisor.slots.contents import SlotAction

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.runner.messages import Event
    from localrun.supervisor.loader import PoolContext
    from localrun.supervisor.slots.request_queue import PendingRequest
    from localrun.supervisor.slots.state import SlotState

_log = logging.getLogger(__name__)


class SlotWorker:
    """Performs the actions of one slot; ``on_bug`` is called after an unexpected exception."""

    def __init__(self, state: SlotState, context: PoolContext, on_bug: Callable[[], None]) -> None:
        self._state = state
        self._context = context
        self._on_bug = on_bug
        self._loader = ModelLoader(state, context)
        self._has_started = threading.Lock()  # acquired by the first `start`, never released

    def start(self) -> None:
        """Start the thread if it has not been started."""
        if self._has_started.acquire(blocking=False):
            threading.Thread(target=self._work, name="slot", daemon=True).start()

    def _work(self) -> None:
        while (action := self._state.wait_for_action()) is not SlotAction.STOP:
            try:
                self._perform(action)
            except Exception:  # noqa: BLE001 - a bug must not leave requests without an end
                _log.exception("the slot of %s failed", self._state.key.name)
                self._on_bug()

    def _perform(self, action: SlotAction | PendingRequest) -> None:
        self._context.on_action()
        if action is SlotAction.LOAD:
            self._loader.load()
        elif action is SlotAction.UNLOAD:
            self._loader.unload()
        elif action is SlotAction.REAP:
            self._loader.reap()
        elif not isinstance(action, SlotAction):
            self._send(action)

    def _send(self, request: PendingRequest) -> None:
        runner = self._state.runner
        if request.frame is None or runner is None:
            self._finish(request)
            request.finish(FinishReason.STOP)
            return

        def sink(event: Event) -> None:
            if isinstance(event, Terminal):
                self._finish(request)
            request.forward(event)

        runner.submit_frame(request.request_id, request.frame, sink)
        if request.is_cancelled:  # after it was taken out of the queue, before it was sent
            runner.cancel(request.request_id)

    def _finish(self, request: PendingRequest) -> None:
        """Record the end of a running request; also called by the runner's reader thread."""
        self._state.finish(request)
        self._context.load_queue.notify()
