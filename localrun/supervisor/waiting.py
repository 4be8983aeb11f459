"""All calls that wait for one runner: most of them in line, light ones beside it.

Not safe from several threads: the slot has the lock.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from localrun.supervisor.request_queue import FairQueue

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator

    from localrun.supervisor.request_queue import PendingRequest


class RequestQueue:
    """Who waits for the load or for a turn."""

    def __init__(self) -> None:
        self._line = FairQueue()
        self._light: deque[PendingRequest] = deque()  # answered at once when a runner is there

    def __iter__(self) -> Iterator[PendingRequest]:
        yield from self._line
        yield from list(self._light)

    @property
    def num_in_line(self) -> int:
        """Return how many wait for a turn."""
        return len(self._line)

    @property
    def has_light(self) -> bool:
        """Return whether there are calls that need no turn."""
        return bool(self._light)

    @property
    def is_empty(self) -> bool:
        """Return whether nobody waits."""
        return not (len(self._line) or self._light)

    @property
    def num_ctx_in_line(self) -> int:
        """Return the largest context that a call in line asks for, 0 where none does."""
        return max((call.num_ctx or 0 for call in self._line), default=0)

    def names(self) -> dict[str, str]:
        """Return the names that calls wait in line under, with their digests."""
        return {call.model.name: call.model.digest for call in self._line}

    def num_for(self, name: str) -> int:
        """Return how many calls for a name wait in line."""
        return sum(call.model.name == name for call in self._line)

    def add(self, call: PendingRequest) -> None:
        """Let a call wait."""
        if call.is_light:
            self._light.append(call)
        else:
            self._line.add(call)

    def remove(self, call: PendingRequest) -> bool:
        """Take a call out; return whether it waited."""
        if not call.is_light:
            return self._line.remove(call)
        waited = call in self._light
        if waited:
            self._light.remove(call)
        return waited

    def take_name(self, name: str) -> list[PendingRequest]:
        """Take out all calls for a name."""
        found = [call for call in self if call.model.name == name]
        for call in found:
            self.remove(call)
        return found

    def take_all(self) -> list[PendingRequest]:
        """Take out everybody."""
        found = list(self)
        self._line, self._light = FairQueue(), deque()
        return found

    def take_light(self) -> PendingRequest:
        """Take out the oldest call that needs no turn."""
        return self._light.popleft()

    def take_next(self, running: Counter[str]) -> PendingRequest:
        """Take out whose turn it is; ``running`` counts what each client has running."""
        return self._line.pop(running)
