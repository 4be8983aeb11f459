"""Request bodies: limits of size, rate and memory while they arrive.

A client has `PATIENCE_S` for its body, and one second more for each `SLOWEST` bytes. Bodies
larger than `UNCOUNTED_BYTES` share `MOST_OPEN_BYTES` until their requests have ended: a request
that waits or generates holds about as much as its body. Uploads of files may have any size;
they go to the disk as they arrive. Of a compressed body the decompressed bytes count: they come
in pieces, the first of each message at once, the others from a thread.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from localrun.errors import BodyTooLargeError, OverloadedError, SlowClientError, UsageError

if TYPE_CHECKING:
    from starlette.types import Message, Receive

    from localrun.server.middleware.encodings import Decoder

LARGEST_BODY = 32 * 1024 * 1024
MOST_OPEN_BYTES = 8 * LARGEST_BODY
UNCOUNTED_BYTES = 256 * 1024
PATIENCE_S = 30.0
SLOWEST = 16 * 1024  # bytes in a second
RETRY_S = 5.0
PIECE_BYTES = 64 * 1024  # that are decompressed on the event loop: about 0.1 ms
LARGE_PIECE_BYTES = 1024 * 1024  # in a thread


class OpenBodies:
    """The bytes of the large bodies of all open requests; used on the event loop."""

    def __init__(self, most_bytes: int = MOST_OPEN_BYTES) -> None:
        self._most_bytes = most_bytes
        self.num_bytes = 0

    def add(self, num_bytes: int) -> None:
        """Count bytes of a body.

        Raises:
            OverloadedError: the open requests have too many; none are counted then.
        """
        if self.num_bytes + num_bytes > self._most_bytes:
            raise OverloadedError(
                f"open requests have {self._most_bytes // 1024 // 1024} MiB of bodies already",
                retry_after_s=RETRY_S,
            )
        self.num_bytes += num_bytes

    def remove(self, num_bytes: int) -> None:
        """Forget bytes of a request that has ended."""
        self.num_bytes -= num_bytes


class BodyReader:
    """An ASGI ``receive`` with limits until the body is complete; ``close`` ends its count."""

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
        self._begun = time.monotonic()
        self._num_received = 0
        self._num_bytes = 0  # decompressed
        self._num_counted = 0
        self._has_all = False  # that is received
        self._is_whole = False

    async def __call__(self) -> Message:
        """Return the next message.

        Raises:
            BodyTooLargeError: the body is larger than `LARGEST_BODY`.
            OverloadedError: the open requests have too many bytes.
            SlowClientError: the client takes too long.
            UsageError: the body is not what its Content-Encoding says.
        """
        if self._is_whole:
            return await self._receive()
        message = await (self._next() if self._decoder is None else self._decoded(self._decoder))
        self._num_bytes += len(message.get("body", b""))
        self._is_whole = not message.get("more_body", False)
        if not self._is_upload:
            refuse_larger(self._num_bytes)
            self._count()
        return message

    async def _next(self) -> Message:
        left = self._begun + PATIENCE_S + self._num_received / SLOWEST - time.monotonic()
        try:
            async with asyncio.timeout(left):
                message = await self._receive()
        except TimeoutError:
            raise SlowClientError("the request's body came too slowly") from None
        self._num_received += len(message.get("body", b""))
        self._has_all = not message.get("more_body", False)
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
        is_last = self._has_all and (decoder.needs_input or decoder.has_ended)
        if is_last and self._num_received and not decoder.has_ended:
            raise UsageError("the compressed body ends in the middle")
        return {"type": "http.request", "body": piece, "more_body": not is_last}

    def close(self) -> None:
        """Forget the bytes of the body: its request has ended."""
        self._open_bodies.remove(self._num_counted)
        self._num_counted = 0

    def _count(self) -> None:
        if self._num_bytes > UNCOUNTED_BYTES:
            self._open_bodies.add(self._num_bytes - self._num_counted)
            self._num_counted = self._num_bytes


def refuse_larger(num_bytes: int) -> None:
    """Refuse a body of so many bytes.

    Raises:
        BodyTooLargeError: it has more than `LARGEST_BODY`.
    """
    if num_bytes > LARGEST_BODY:
        raise BodyTooLargeError(f"the body is larger than {LARGEST_BODY // 1024 // 1024} MiB")
