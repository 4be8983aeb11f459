"""Take a request's body: not too large, and not too slowly.

A client has `PATIENCE_S` for its body, and more for each `SLOWEST` bytes a second of what
has come. Uploads of files may be as large as they are; nobody holds them in memory.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from localrun.errors import BodyTooLargeError, SlowClientError

if TYPE_CHECKING:
    from starlette.types import Message, Receive

LARGEST_BODY = 64 * 1024 * 1024
PATIENCE_S = 30.0
SLOWEST = 16 * 1024  # bytes in a second


class BodyReader:
    """An ASGI ``receive`` that has limits until the body is whole."""

    def __init__(self, receive: Receive, largest: int | None = LARGEST_BODY) -> None:
        self._receive = receive
        self._largest = largest
        self._begun = time.monotonic()
        self._num_bytes = 0
        self._is_whole = False

    async def __call__(self) -> Message:
        """Return the next message.

        Raises:
            BodyTooLargeError: more came than is taken.
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
        refuse_larger(self._num_bytes, self._largest)
        return message


def refuse_larger(num_bytes: int, largest: int | None = LARGEST_BODY) -> None:
    """Refuse a body of so many bytes.

    Raises:
        BodyTooLargeError: it has more than are taken.
    """
    if largest is not None and num_bytes > largest:
        raise BodyTooLargeError(f"the body is larger than {largest // 1024 // 1024} MiB")
