"""Parse a request's body, and work on it only as long as its client is there."""

from __future__ import annotations

import asyncio
import contextvars
from typing import TYPE_CHECKING, TypeVar

from localrun.server.parsing.fields import Fields, parse_object
from localrun.server.parsing.json_parser import is_small

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from concurrent.futures import ThreadPoolExecutor

    from starlette.requests import Request
    from starlette.types import Receive

T = TypeVar("T")


async def read(request: Request, parse: Callable[[Fields], T]) -> T:
    """Return what ``parse`` makes of a request's body.

    A large body is parsed, and given to ``parse``, in one of the few threads for that.

    Raises:
        UsageError: the body is not one JSON object, or ``parse`` refuses it.
    """
    body = await _whole_body(request)
    if is_small(body):
        return parse(parse_object(body))
    return await _in_thread(request, parse, body)


async def read_in_thread(request: Request, parse: Callable[[Fields], T]) -> T:
    """Return the same; ``parse`` may take long whatever the size of the body.

    Raises:
        UsageError: the body is not one JSON object, or ``parse`` refuses it.
    """
    return await _in_thread(request, parse, await _whole_body(request))


def same(fields: Fields) -> Fields:
    """Return the fields of a body: a ``parse`` for `read`."""
    return fields


async def _whole_body(request: Request) -> bytes:
    return b"".join([chunk async for chunk in request.stream()])  # not kept by the request


async def _in_thread(request: Request, parse: Callable[[Fields], T], body: bytes) -> T:
    threads: ThreadPoolExecutor = request.state.parsers
    run = contextvars.copy_context().run  # with the request's id, for the log
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(threads, run, lambda: parse(parse_object(body)))


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
