"""Timeouts of HTTP connections: uvicorn's protocol with limits against broken or hostile clients.

uvicorn itself waits without a limit for

    a request's head      here `HEAD_S` seconds from its first byte (or from the connection), and
                          `MAX_HEAD_BYTES`
    a reader of a stream  here `READ_S` seconds until a full buffer is read (about 1 kB/s); then
                          the connection is closed, which cancels its request
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

if sys.platform == "win32":
    from uvicorn.protocols.http.h11_impl import H11Protocol as HttpProtocol
    from uvicorn.protocols.http.h11_impl import RequestResponseCycle
else:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol as HttpProtocol
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

if TYPE_CHECKING:
    from collections.abc import Callable

HEAD_S = 10.0
READ_S = 60.0
MAX_HEAD_BYTES = 64 * 1024


class TimeoutProtocol(HttpProtocol):
    """One connection; at most one timer runs, for the head or for the reader."""

    _timer: asyncio.TimerHandle | None = None
    _is_for_head = False
    _num_head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn
        """Start the timer of the first head."""
        super().connection_made(transport)
        self._start(HEAD_S, transport.close, is_for_head=True)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        self._stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Receive bytes of a head or of a body."""
        super().data_received(data)
        if not self._waits_for_head:
            self._num_head_bytes = 0
            if self._is_for_head:
                self._stop()
            return
        self._num_head_bytes += len(data)
        if self._num_head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.transport.close()
        elif self._timer is None:
            self._start(HEAD_S, self.transport.close, is_for_head=True)

    def pause_writing(self) -> None:
        """Start the timer of the reader: its buffer is full."""
        super().pause_writing()
        self._start(READ_S, self.transport.abort, is_for_head=False)

    def resume_writing(self) -> None:
        """Stop the timer of the reader: it has read."""
        super().resume_writing()
        if not self._is_for_head:
            self._stop()

    @property
    def _waits_for_head(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle  # None before the first head
        return cycle is None or cycle.response_complete

    def _start(self, seconds: float, on_timeout: Callable[[], None], *, is_for_head: bool) -> None:
        self._stop()
        self._is_for_head = is_for_head
        self._timer = asyncio.get_running_loop().call_later(seconds, on_timeout)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._is_for_head = None, False
