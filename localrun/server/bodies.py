"""Request bodies: limits of size, rate and memory while they arrive.

A client has `PATIENCE_S` for its body, and one second more for each `SLOWEST` bytes. Bodies
larger than `UNCOUNTED_BYTES` share `MOST_OPEN_BYTES` until their requests have ended: a request
that waits or generates holds about as much as its body. Uploads of files may have any size;
they go to the disk as they arrive.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from localrun.errors import BodyTooLargeError, OverloadedError, SlowClientError

if TYPE_CHECKING:
    from starlette.types import Message, Receive

LARGEST_BODY = 32 * 1024 * 1024
MOST_OPEN_BYTES = 8 * LARGEST_BODY
UNCOUNTED_BYTES = 256 * 1024
PATIENCE_S = 30.0
SLOWEST = 16 * 1024  # bytes in a second
RETRY_S = 5.0


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

    def __init__(self, receive: Receive, open_bodies: OpenBodies, *, is_upload: bool) -> None:
        self._receive = receive
        self._open_bodies = open_bodies
        self._is_upload = is_upload
        self._begun = time.monotonic()
        self._num_bytes = 0
        self._num_counted = 0
        self._is_whole = False

    async def __call__(self) -> Message:
        """Return the next message.

        Raises:
            BodyTooLargeError: the body is larger than `LARGEST_BODY`.
            OverloadedError: the open requests have too many bytes.
            SlowClientError: the client takes too long.
        """
        if self._is_whole:
            return await self._receive()
        left = self._begun + PATIENCE_S + self._num_bytes / SLOWEST - time.monotonic()
        try:
            async with asyncio.timeout(left):
                message = await self._receive()
        except TimeoutError:
            raise SlowClientError("the request's body came too slowly") from None
        self._num_bytes += len(message.get("body", b""))
        self._is_whole = not message.get("more_body", False)
        if not self._is_upload:
            refuse_larger(self._num_bytes)
            self._count()
        return message

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
