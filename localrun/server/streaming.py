"""Send an answer while it comes, and notice at once when nobody listens any more.

Starlette's own streaming response learns of a disconnect in different ways with
different servers; this one always listens, so that a long prefill is cancelled
too and not only the next token.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from fastapi.responses import Response

from localrun.server.requests import unless_disconnected, until_disconnect

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send


async def streamed(
    request: Request, chunks: AsyncGenerator[bytes, None], media_type: str
) -> Response:
    """Return the response of these chunks once the first has come.

    What ``chunks`` raises before it is raised here, and so can have a status of its own.
    """
    first = await unless_disconnected(request, anext(chunks))
    return ChunkResponse(first or b"", chunks, media_type)


class ChunkResponse(Response):
    """A body of chunks from an async generator, which is closed at the end in every case."""

    def __init__(self, first: bytes, rest: AsyncGenerator[bytes, None], media_type: str) -> None:
        super().__init__(media_type=media_type, headers={"Cache-Control": "no-cache"})
        del self.headers["content-length"]
        self._first = first
        self._rest = rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI
        """Send head and chunks until the end or the client's."""
        await until_disconnect(receive, self._send_all(send))

    async def _send_all(self, send: Send) -> None:
        async with contextlib.aclosing(self._rest):
            await send(
                {
                    "type": "http.response.start",
                    "status": self.status_code,
                    "headers": self.raw_headers,
                }
            )
            await _send_chunk(send, self._first)
            async for chunk in self._rest:
                await _send_chunk(send, chunk)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _send_chunk(send: Send, chunk: bytes) -> None:
    await send({"type": "http.response.body", "body": chunk, "more_body": True})
