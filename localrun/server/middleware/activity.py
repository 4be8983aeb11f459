"""How long nobody has used the server: plain ASGI, around everything.

To look is not to use: a program that shows every second what is loaded must not
keep an idle server for ever.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Receive, Scope, Send

LOOKS = frozenset({"GET", "HEAD"})


class Activity:
    """Counts the requests that are open; a streamed answer is one until it ends."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._num_open = 0
        self._last_end = clock()

    @property
    def idle_s(self) -> float:
        """Return how long no request has been open; 0 while one is."""
        return 0.0 if self._num_open else self._clock() - self._last_end

    def watch(self, app: ASGIApp) -> ASGIApp:
        """Return the application, counted."""

        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http" or scope["method"] in LOOKS:
                await app(scope, receive, send)
                return
            self._num_open += 1
            try:
                await app(scope, receive, send)
            finally:
                self._num_open -= 1
                self._last_end = self._clock()

        return counted
