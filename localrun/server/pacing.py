"""Pacing of streams: chunks that follow one another closely are sent together if a client asks.

    X-Localrun-Interval-Ms: 50

A fast model sends a thousand chunks a second. Each wakes several processes of a browser, which
costs more than what its page does with them. Invariant: all chunks are sent, in their order, and
none waits for longer than the interval.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from localrun.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

HEADER = "x-localrun-interval-ms"
MAX_INTERVAL_MS = 1000


def requested_interval_s(headers: Mapping[str, str]) -> float:
    """Return the interval between chunks in seconds, 0.0 if the headers set none.

    Raises:
        UsageError: the header is no number of milliseconds up to `MAX_INTERVAL_MS`.
    """
    value = headers.get(HEADER, "0")
    if not value.isascii() or not value.isdigit() or int(value[:9]) > MAX_INTERVAL_MS:
        raise UsageError(f"X-Localrun-Interval-Ms must be 0 to {MAX_INTERVAL_MS}, not {value!r}")
    return int(value) / 1000


class PacedSender:
    """Sends chunks by ``send``, joined with those that come until the interval is over."""

    def __init__(self, send: Callable[[bytes], Awaitable[None]], interval_s: float) -> None:
        self._send = send
        self._interval_s = interval_s
        self._waiting: list[bytes] = []
        self._sending: asyncio.Task[None] | None = None
        self._is_finished = asyncio.Event()

    async def add(self, chunk: bytes) -> None:
        """Send a chunk once the interval that begins with the first waiting chunk is over."""
        if not self._interval_s:
            await self._send(chunk)
            return
        self._waiting.append(chunk)
        if self._sending is None:
            self._sending = asyncio.create_task(self._send_waiting())

    async def finish(self) -> None:
        """Send at once what waits."""
        self._is_finished.set()
        if self._sending is not None:
            await self._sending

    async def _send_waiting(self) -> None:
        while self._waiting:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._interval_s):
                    await self._is_finished.wait()
            joined = b"".join(self._waiting)
            self._waiting.clear()
            await self._send(joined)
        self._sending = None
