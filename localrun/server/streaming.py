"""Send an answer while it comes, and notice at once when nobody listens any more.

Starlette's own streaming response learns of a disconnect in different ways with
different servers; this one always listens, so that a long prefill is cancelled
too and not only the next token.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, TypeVar

from fastapi.responses import Response

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

T = TypeVar("T")


class ChunkResponse(Response):
    """A body of chunks from an async generator, which is closed at the end in every case."""

    def __init__(self, chunks: AsyncGenerator[bytes, None], media_type: str) -> None:
        super().__init__(media_type=media_type, headers={"Cache-Control": "no-cache"})
        del self.headers["content-length"]
        self._chunks = chunks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI
        """Send head and chunks until the end or the client's."""
        await send(
            {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        )
        await _unless_disconnected(receive, self._send_chunks(send))

    async def _send_chunks(self, send: Send) -> None:
        async with contextlib.aclosing(self._chunks):
            async for chunk in self._chunks:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def unless_disconnected(request: Request, work: Coroutine[None, None, T]) -> T | None:
    """Return the work's result, or None when the client left and the work was cancelled."""
    return await _unless_disconnected(request.receive, work)


async def _unless_disconnected(receive: Receive, work: Coroutine[None, None, T]) -> T | None:
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        return None
    finally:
        for pending in (task, gone):
            pending.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
