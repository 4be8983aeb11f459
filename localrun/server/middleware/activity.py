"""Idle time of the server: how long no request has been open. Plain ASGI, around everything.

Reads do not count as use: a program that polls the list of loaded models must not keep an idle
server alive.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.types import ASGIApp, Receive, Scope, Send

READS = frozenset({"GET", "HEAD"})


class Activity:
    """Counter of open requests; a streamed answer is open until its end."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._num_open = 0
        self._ended_at = clock()
        self._num_requests = 0
        self._has_request = asyncio.Event()

    @property
    def idle_s(self) -> float:
        """Return the seconds since the last request ended; 0 while a request is open."""
        return 0.0 if self._num_open else self._clock() - self._ended_at

    @property
    def num_requests(self) -> int:
        """Return the number of requests so far."""
        return self._num_requests

    async def wait_for_request(self, num_before: int) -> None:
        """Return when there have been more than so many requests."""
        while self._num_requests <= num_before:
            self._has_request.clear()
            await self._has_request.wait()

    async def wait_until_idle(self, idle_s: float) -> None:
        """Return when no request has been open for so many seconds."""
        while (left_s := idle_s - self.idle_s) > 0:  # noqa: ASYNC110 - time is the event
            await asyncio.sleep(left_s)

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Count the block as an open request."""
        self._num_open += 1
        self._num_requests += 1
        self._has_request.set()
        try:
            yield
        finally:
            self._num_open -= 1
            self._ended_at = self._clock()

    def watch(self, app: ASGIApp) -> ASGIApp:
        """Return the application with its requests counted."""

        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http" or scope["method"] in READS:
                await app(scope, receive, send)
                return
            with self.hold():
                await app(scope, receive, send)

        return counted
