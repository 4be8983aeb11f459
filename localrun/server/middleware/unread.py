"""Unread request bodies: the rest of a body that is answered before its end is read and discarded.

If a connection is closed while its client still sends, the client's system reports "connection
reset" and discards the response. Therefore the whole response is sent, then the rest of the body
is read, and then the request ends. The limits are `MAX_UNREAD_BYTES`, or the number that a route
sets by ``expect_unread``, and the time that `MIN_RATE` allows; then the connection is closed.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send

MAX_UNREAD_BYTES = 64 * 1024 * 1024
TIMEOUT_S = 10.0
MIN_RATE = 1024 * 1024  # bytes per second
STATE = "most_unread_bytes"
CLOSE = (b"connection", b"close")


def expect_unread(scope: Scope, num_bytes: int) -> None:
    """Allow a body of ``num_bytes`` to be discarded: a file that the store already has."""
    scope["state"][STATE] = max(num_bytes, MAX_UNREAD_BYTES)


class UnreadBody:
    """ASGI ``receive`` and ``send`` of one request that discard the rest of its body."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"")
        self._content_length = int(length) if length.isdigit() else None
        self._has_body_ended = not self._content_length and b"transfer-encoding" not in headers
        self._state = scope["state"]
        self._receive = receive
        self._send = send

    async def receive(self) -> Message:
        """Return the next message."""
        message = await self._receive()
        self._has_body_ended = self._has_body_ended or not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """Send a message; the last message waits until the body has been read."""
        if self._has_body_ended:
            await self._send(message)
        elif message["type"] == "http.response.start":
            is_bounded = self._content_length is not None and self._content_length <= self._most
            extra = [] if is_bounded else [CLOSE]
            await self._send({**message, "headers": [*message.get("headers", ()), *extra]})
        elif message.get("more_body", False):
            await self._send(message)
        else:
            await self._send({**message, "more_body": True})
            await self._discard_body()
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    @property
    def _most(self) -> int:
        most: int = self._state.get(STATE, MAX_UNREAD_BYTES)
        return most

    async def _discard_body(self) -> None:
        started_at, num_bytes = time.monotonic(), 0
        while not self._has_body_ended and num_bytes <= self._most:
            left_s = started_at + TIMEOUT_S + num_bytes / MIN_RATE - time.monotonic()
            if left_s <= 0:
                return
            try:
                async with asyncio.timeout(left_s):
                    message = await self.receive()
            except TimeoutError:
                return
            num_bytes += len(message.get("body", b""))
