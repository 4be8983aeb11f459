"""Read a request's body, and work on it only as long as its client is there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from localrun.server.fields import Fields, parse_object

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from starlette.requests import Request
    from starlette.types import Receive

T = TypeVar("T")

LARGE_BODY = 256 * 1024  # parsing more than this is felt by the other requests


async def read_object(request: Request) -> Fields:
    """Return the fields of a request's body.

    Raises:
        UsageError: the body is not one JSON object.
    """
    body = await request.body()
    if len(body) > LARGE_BODY:
        return await asyncio.to_thread(parse_object, body)
    return parse_object(body)


async def unless_disconnected(request: Request, work: Awaitable[T]) -> T | None:
    """Return the work's result, or None when the client left and the work was cancelled."""
    return await until_disconnect(request.receive, work)


async def until_disconnect(receive: Receive, work: Awaitable[T]) -> T | None:
    """Await the work, or cancel it as soon as ``receive`` tells that the client left."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        for pending in (task, gone):
            pending.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
