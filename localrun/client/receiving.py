"""Bytes of a connection as a stream, received in steps (see `waiting`), so that Ctrl-C ends it."""

from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING

from localrun.waiting import STEP_S

if TYPE_CHECKING:
    import socket


class ReceivedStream(io.RawIOBase):
    """Readable side of a connected socket.

    ``timeout_s`` is the longest time that a read waits, at first that of the socket; a read may
    wait one step longer.
    """

    def __init__(self, connection: socket.socket) -> None:
        super().__init__()
        self._connection = connection
        self.timeout_s = connection.gettimeout()
        connection.settimeout(STEP_S if self.timeout_s is None else min(STEP_S, self.timeout_s))

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Receive up to the size of the buffer; return the number of bytes, 0 at the end.

        Raises:
            TimeoutError: nothing arrived in time.
            OSError: the connection is lost.
        """
        begin_s = time.monotonic()
        while True:
            try:
                return self._connection.recv_into(buffer)
            except TimeoutError:
                if self.timeout_s is not None and time.monotonic() - begin_s >= self.timeout_s:
                    raise
