"""Limits on request bodies while they arrive: size, rate, and memory of all open requests.

A client has `TIMEOUT_S` for its body, and one more second for each `MIN_RATE` bytes. Bodies
larger than `UNCOUNTED_BYTES` share `MAX_OPEN_BYTES` until their requests end, because a request
that waits or generates holds about as much memory as its body. Uploads of files may have any
size: they are written to disk as they arrive. Of a compressed body the decompressed bytes count.
The body is decompressed in pieces: the first piece of each message on the event loop, the others
in a thread.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from localrun.errors import BodyTooLargeError, OverloadedError, SlowClientError, UsageError

if TYPE_CHECKING:
    from starlette.types import Message, Receive

    from localrun.server.middleware.encodings import Decoder

MAX_BODY_BYTES = 32 * 1024 * 1024
MAX_OPEN_BYTES = 8 * MAX_BODY_BYTES
UNCOUNTED_BYTES = 256 * 1024
TIMEOUT_S = 30.0
MIN_RATE = 16 * 1024  # bytes per second
RETRY_S = 5.0
PIECE_BYTES = 64 * 1024  # decompressed on the event loop, in about 0.1 ms
LARGE_PIECE_BYTES = 1024 * 1024  # decompressed in a thread


class OpenBodies:
    """Total size of the large bodies of all open requests; used on the event loop only."""

    def __init__(self, most_bytes: int = MAX_OPEN_BYTES, what: str = "bodies") -> None:
        """Take the limit; ``what`` names the bytes in the error."""
        self._most_bytes = most_bytes
        self._what = what
        self.num_bytes = 0

    def add(self, num_bytes: int) -> None:
        """Count bytes of a body.

        Raises:
            OverloadedError: the total would exceed the limit; the bytes are not counted.
        """
        if self.num_bytes + num_bytes > self._most_bytes:
            most = self._most_bytes // 1024 // 1024
            raise OverloadedError(
                f"open requests have {most} MiB of {self._what} already", retry_after_s=RETRY_S
            )
        self.num_bytes += num_bytes

    def remove(self, num_bytes: int) -> None:
        """Subtract the bytes of a request that has ended."""
        self.num_bytes -= num_bytes


class BodyReader:
    """An ASGI ``receive`` that enforces the limits; ``close`` removes the body from the total."""

    def __init__(
        self,
        receive: Receive,
        open_bodies: OpenBodies,
        *,
        is_upload: bool,
        decoder: Decoder | None = None,
    ) -> None:
        self._receive = receive
        self._decoder = decoder
        self._open_bodies = open_bodies
        self._is_upload = is_upload
        self._started_at = time.monotonic()
        self._num_received = 0  # bytes as they were sent
        self._num_bytes = 0  # bytes after decompression
        self._num_counted = 0
        self._has_received_all = False
        self._is_complete = False

    async def __call__(self) -> Message:
        """Return the next message.

        Raises:
            BodyTooLargeError: the body is larger than `MAX_BODY_BYTES`.
            OverloadedError: the bodies of open requests are too large together.
            SlowClientError: the client sends too slowly.
            UsageError: the body does not have the format of its Content-Encoding.
        """
        if self._is_complete:
            return await self._receive()
        message = await (self._next() if self._decoder is None else self._decoded(self._decoder))
        self._num_bytes += len(message.get("body", b""))
        self._is_complete = not message.get("more_body", False)
        if not self._is_upload:
            check_body_size(self._num_bytes)
            self._count()
        return message

    async def _next(self) -> Message:
        deadline = self._started_at + TIMEOUT_S + self._num_received / MIN_RATE
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                message = await self._receive()
        except TimeoutError:
            raise SlowClientError("the request's body came too slowly") from None
        self._num_received += len(message.get("body", b""))
        self._has_received_all = not message.get("more_body", False)
        return message

    async def _decoded(self, decoder: Decoder) -> Message:
        """Return the next piece of a compressed body."""
        if decoder.needs_input or decoder.has_ended:
            message = await self._next()
            if message["type"] != "http.request":
                return message
            piece = decoder.decode(message.get("body", b""), PIECE_BYTES)
        else:
            piece = await asyncio.to_thread(decoder.decode, b"", LARGE_PIECE_BYTES)
        is_last = self._has_received_all and (decoder.needs_input or decoder.has_ended)
        if is_last and self._num_received and not decoder.has_ended:
            raise UsageError("the compressed body ends in the middle")
        return {"type": "http.request", "body": piece, "more_body": not is_last}

    def close(self) -> None:
        """Remove the body from the total of open bodies."""
        self._open_bodies.remove(self._num_counted)
        self._num_counted = 0

    def _count(self) -> None:
        if self._num_bytes > UNCOUNTED_BYTES:
            self._open_bodies.add(self._num_bytes - self._num_counted)
            self._num_counted = self._num_bytes


def check_body_size(num_bytes: int) -> None:
    """Check the size of a body.

    Raises:
        BodyTooLargeError: the body has more than `MAX_BODY_BYTES`.
    """
    if num_bytes > MAX_BODY_BYTES:
        raise BodyTooLargeError(
            f"the body is larger than {MAX_BODY_BYTES // 1024 // 1024} MiB",
            hint="media in base64 take a third more than their files: send smaller ones, or fewer",
        )
