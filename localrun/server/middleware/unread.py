"""Bodies whose answer comes before they are read: read to their end, and forgotten.

If a connection is closed while its client still sends, the client's system reports "connection
reset" and throws the answer away. So the answer goes out whole, what still comes is read, and
only then is the request over. The bounds are `MOST_UNREAD` bytes, or what a route says by
``expect_unread``, and the time that `SLOWEST` allows; then the connection is closed.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send

MOST_UNREAD = 64 * 1024 * 1024
PATIENCE_S = 10.0
SLOWEST = 1024 * 1024  # bytes in a second
STATE = "most_unread_bytes"
CLOSE = (b"connection", b"close")


def expect_unread(scope: Scope, num_bytes: int) -> None:
    """Let a client send so many bytes, although they are known: a file that is here."""
    scope["state"][STATE] = max(num_bytes, MOST_UNREAD)


class UnreadBody:
    """An ASGI ``receive`` and ``send`` of one request."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"")
        self._announced = int(length) if length.isdigit() else None
        self._is_over = not self._announced and b"transfer-encoding" not in headers
        self._state = scope["state"]
        self._receive = receive
        self._send = send

    async def receive(self) -> Message:
        """Return the next message."""
        message = await self._receive()
        self._is_over = self._is_over or not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """Pass on what is sent; the last message waits until the body has been read."""
        if self._is_over:
            await self._send(message)
        elif message["type"] == "http.response.start":
            is_bounded = self._announced is not None and self._announced <= self._most
            extra = [] if is_bounded else [CLOSE]
            await self._send({**message, "headers": [*message.get("headers", ()), *extra]})
        elif message.get("more_body", False):
            await self._send(message)
        else:
            await self._send({**message, "more_body": True})
            await self._read_on()
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    @property
    def _most(self) -> int:
        most: int = self._state.get(STATE, MOST_UNREAD)
        return most

    async def _read_on(self) -> None:
        begun, num_bytes = time.monotonic(), 0
        while not self._is_over and num_bytes <= self._most:
            left = begun + PATIENCE_S + num_bytes / SLOWEST - time.monotonic()
            if left <= 0:
                return
            try:
                async with asyncio.timeout(left):
                    message = await self.receive()
            except TimeoutError:
                return
            num_bytes += len(message.get("body", b""))
