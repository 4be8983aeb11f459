"""Body parsing of a request, and cancellation of its work when the client disconnects."""

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
    """Parse a request's body with ``parse``.

    A large body is parsed in one of the parser threads.

    Raises:
        UsageError: the body is not one JSON object, or ``parse`` refuses it.
    """
    body = await _whole_body(request)
    if is_small(body):
        return parse(parse_object(body))
    return await _in_thread(request, parse, body)


async def read_in_thread(request: Request, parse: Callable[[Fields], T]) -> T:
    """Parse a request's body in a parser thread: ``parse`` is slow for small bodies too.

    Raises:
        UsageError: the body is not one JSON object, or ``parse`` refuses it.
    """
    return await _in_thread(request, parse, await _whole_body(request))


async def _whole_body(request: Request) -> bytes:
    return b"".join([chunk async for chunk in request.stream()])  # not kept by the request


async def _in_thread(request: Request, parse: Callable[[Fields], T], body: bytes) -> T:
    threads: ThreadPoolExecutor = request.state.parsers
    run = contextvars.copy_context().run  # with the request's id, for the log
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(threads, run, lambda: parse(parse_object(body)))


async def unless_disconnected(request: Request, work: Awaitable[T]) -> T | None:
    """Return the work's result, or None if the client left and the work was cancelled."""
    return await until_disconnect(request.receive, work)


async def until_disconnect(receive: Receive, work: Awaitable[T]) -> T | None:
    """Await the work, or cancel it as soon as ``receive`` reports that the client left."""
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
