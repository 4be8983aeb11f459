"""What who submitted a request or a load holds of it: to wait for it, or to end it."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.errors import error_named
from localrun.runner.messages import Failed, Finished

if TYPE_CHECKING:
    from localrun.runner.messages import Event
    from localrun.supervisor.request_queue import PendingRequest
    from localrun.supervisor.slot import Slot


@dataclass(frozen=True, slots=True)
class RequestHandle:
    """A submitted request."""

    call: PendingRequest
    slot: Slot

    @property
    def load_s(self) -> float:
        """Return what it waited for the model, known when its first event comes."""
        return self.call.load_s

    def cancel(self) -> None:
        """End it, wherever it is; one that has ended is left alone."""
        self.slot.cancel(self.call)


class PendingLoad:
    """A load that somebody waits for."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._end: Finished | Failed | None = None
        self.ticket: RequestHandle | None = None

    def __call__(self, event: Event) -> None:
        """Take the end."""
        if isinstance(event, Finished | Failed):
            self._end = event
            self._over.set()

    def wait(self) -> float:
        """Return the seconds that it took; blocks.

        Raises:
            LocalrunError: the model does not load.
        """
        self._over.wait()
        if isinstance(self._end, Failed):
            raise error_named(self._end.code, self._end.message, hint=self._end.hint)
        return self.ticket.load_s if self.ticket else 0.0

    def cancel(self) -> None:
        """Wait no more; a load that nobody waits for is broken off."""
        if self.ticket is not None:
            self.ticket.cancel()
