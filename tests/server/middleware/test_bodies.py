"""The bodies of all open requests share one bound."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from localrun.errors import BodyTooLargeError, OverloadedError
from localrun.server.middleware.bodies import (
    MAX_BODY_BYTES,
    UNCOUNTED_BYTES,
    BodyReader,
    OpenBodies,
    check_body_size,
)

if TYPE_CHECKING:
    from starlette.types import Message


def reader(open_bodies: OpenBodies, num_bytes: int, *, is_upload: bool = False) -> BodyReader:
    chunks = [b"x" * (num_bytes // 2), b"x" * (num_bytes - num_bytes // 2)]

    async def receive() -> Message:
        chunk = chunks.pop(0)
        return {"type": "http.request", "body": chunk, "more_body": bool(chunks)}

    return BodyReader(receive, open_bodies, is_upload=is_upload)


async def read_all(body: BodyReader) -> None:
    while (await body())["more_body"]:
        pass


def test_large_bodies_are_counted_until_their_requests_end() -> None:
    open_bodies = OpenBodies(most_bytes=3_000_000)
    first, second = reader(open_bodies, 2_000_000), reader(open_bodies, 2_000_000)

    asyncio.run(read_all(first))
    with pytest.raises(OverloadedError, match="bodies already") as caught:
        asyncio.run(read_all(second))
    second.close()
    held = open_bodies.num_bytes
    first.close()
    asyncio.run(read_all(reader(open_bodies, 2_000_000)))

    assert caught.value.retry_after_s
    assert held == 2_000_000
    assert open_bodies.num_bytes == 2_000_000


def test_small_bodies_and_uploads_are_not_counted() -> None:
    open_bodies = OpenBodies(most_bytes=1)

    asyncio.run(read_all(reader(open_bodies, UNCOUNTED_BYTES)))
    asyncio.run(read_all(reader(open_bodies, MAX_BODY_BYTES + 2, is_upload=True)))

    assert open_bodies.num_bytes == 0


def test_a_body_beyond_the_limit_is_refused_and_forgotten() -> None:
    open_bodies = OpenBodies()
    body = reader(open_bodies, MAX_BODY_BYTES + 2)

    with pytest.raises(BodyTooLargeError, match="32 MiB"):
        asyncio.run(read_all(body))
    body.close()

    assert open_bodies.num_bytes == 0
    with pytest.raises(BodyTooLargeError):
        check_body_size(MAX_BODY_BYTES + 1)
