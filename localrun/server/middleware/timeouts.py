"""HTTP connections that do not wait for ever: uvicorn's protocol with limits.

What uvicorn waits for without an end, of clients that are broken or mean harm:

    a request's head      `HEAD_S` seconds from its first byte (or from the connection), and
                          `LARGEST_HEAD` bytes
    a reader of a stream  `READ_S` seconds until a full buffer is read (that is about 1 kB/s);
                          then the connection is cut, which cancels its request
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
LARGEST_HEAD = 64 * 1024


class TimeoutProtocol(HttpProtocol):
    """One connection."""

    _timer: asyncio.TimerHandle | None = None  # for the head, or for the reader: never both
    _is_for_head = False
    _num_head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn
        """Begin to wait for a head."""
        super().connection_made(transport)
        self._start(HEAD_S, transport.close, is_for_head=True)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes, of a head or of a body."""
        super().data_received(data)
        if not self._waits_for_head:
            self._num_head_bytes = 0
            if self._is_for_head:
                self._stop()
            return
        self._num_head_bytes += len(data)
        if self._num_head_bytes > LARGEST_HEAD and not self.transport.is_closing():
            self.transport.close()
        elif self._timer is None:
            self._start(HEAD_S, self.transport.close, is_for_head=True)

    def pause_writing(self) -> None:
        """Begin to wait for the reader."""
        super().pause_writing()
        self._start(READ_S, self.transport.abort, is_for_head=False)

    def resume_writing(self) -> None:
        """Wait no more: the reader reads."""
        super().resume_writing()
        if not self._is_for_head:
            self._stop()

    @property
    def _waits_for_head(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle  # None before the first head
        return cycle is None or cycle.response_complete

    def _start(self, seconds: float, give_up: Callable[[], None], *, is_for_head: bool) -> None:
        self._stop()
        self._is_for_head = is_for_head
        self._timer = asyncio.get_running_loop().call_later(seconds, give_up)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._is_for_head = None, False
