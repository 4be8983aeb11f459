"""Send an answer while it comes, and notice at once when nobody listens any more.

Starlette's own streaming response learns of a disconnect in different ways with
different servers; this one always listens, so that a long prefill is cancelled
too and not only the next token.

An answer that is long in coming, behind a load or a queue, begins without its first chunk:
events are kept alive by comments, which every reader of events leaves out. Other forms have
no such thing and wait, unless their client asked for signs (``beat``). What goes wrong after
that is told in the stream, as for any answer that has begun.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi.responses import Response

from localrun.errors import LocalrunError
from localrun.server.anthropic.dialect import error_event, speaks_anthropic
from localrun.server.errors import CLIENT_LEFT, error_body
from localrun.server.requests import unless_disconnected, until_disconnect

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

EVENTS = "text/event-stream"
COMMENT = b": waiting\n\n"
COMMENT_S = 10.0  # shorter than what proxies wait for; until then an error has its own status
SIGN_S = 0.25


@dataclass(frozen=True, slots=True)
class Beat:
    """What is sent while nothing comes; ``sign`` may have nothing to say."""

    sign: Callable[[], bytes]
    every_s: float
    only_before_first: bool


async def streamed(
    request: Request,
    chunks: AsyncGenerator[bytes, None],
    media_type: str,
    sign: Callable[[], bytes] | None = None,
) -> Response:
    """Return the response of these chunks once the first has come, or has been long in coming.

    What ``chunks`` raises before that is raised here, and so can have a status of its own.
    """
    first = asyncio.ensure_future(anext(chunks))
    beat = _beat(media_type, sign)
    waiting = asyncio.wait({first}, timeout=beat.every_s if beat else None)
    try:
        is_here = await unless_disconnected(request, waiting) is not None
    except asyncio.CancelledError:
        first.cancel()
        raise
    if not is_here:
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        return Response(status_code=CLIENT_LEFT)  # nobody reads it
    if first.done():
        first.result()

    def told(error: LocalrunError) -> bytes:
        return _error_chunk(request, media_type, error)

    return ChunkResponse(first, chunks, media_type, beat, told)


class ChunkResponse(Response):
    """A body of chunks from an async generator, which is closed at the end in every case."""

    def __init__(
        self,
        first: asyncio.Future[bytes],
        rest: AsyncGenerator[bytes, None],
        media_type: str,
        beat: Beat | None,
        told: Callable[[LocalrunError], bytes],
    ) -> None:
        super().__init__(media_type=media_type, headers={"Cache-Control": "no-cache"})
        del self.headers["content-length"]
        self._first = first
        self._rest = rest
        self._beat = beat
        self._told = told
        self._sent_at = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI
        """Send head and chunks until the end or the client's."""
        try:
            await until_disconnect(receive, self._send_all(send))
        finally:
            self._first.cancel()

    async def _send_all(self, send: Send) -> None:
        await send(
            {
                "type": "http.response.start",
                "status": self.status_code,
                "headers": self.raw_headers,
            }
        )
        beating = asyncio.ensure_future(self._send_beats(send))
        try:
            await self._send_chunks(send)
        finally:
            beating.cancel()
            self._first.cancel()
            await asyncio.gather(self._first, beating, return_exceptions=True)
            await self._rest.aclose()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_chunks(self, send: Send) -> None:
        try:
            await self._send_chunk(send, await self._first)
        except LocalrunError as error:  # the head is sent: it has no status of its own any more
            await self._send_chunk(send, self._told(error))
            return
        async for chunk in self._rest:
            await self._send_chunk(send, chunk)

    async def _send_chunk(self, send: Send, chunk: bytes) -> None:
        self._sent_at = asyncio.get_running_loop().time()
        await send({"type": "http.response.body", "body": chunk, "more_body": True})

    async def _send_beats(self, send: Send) -> None:
        beat, loop = self._beat, asyncio.get_running_loop()
        while beat is not None and not (beat.only_before_first and self._first.done()):
            silent = loop.time() - self._sent_at
            if silent >= beat.every_s and (sign := beat.sign()):
                await self._send_chunk(send, sign)
            await asyncio.sleep(beat.every_s if silent >= beat.every_s else beat.every_s - silent)


def _beat(media_type: str, sign: Callable[[], bytes] | None) -> Beat | None:
    if sign is not None:
        return Beat(sign, SIGN_S, only_before_first=True)
    if media_type == EVENTS:
        return Beat(lambda: COMMENT, COMMENT_S, only_before_first=False)
    return None


def _error_chunk(request: Request, media_type: str, error: LocalrunError) -> bytes:
    """Return an error in the middle of an answer, for the client that sent the request."""
    if speaks_anthropic(request.scope):
        body = json.dumps(error_event(request.scope, error), ensure_ascii=False)
        return f"event: error\ndata: {body}\n\n".encode()
    body = json.dumps(error_body(request.url.path, error), ensure_ascii=False)
    return f"data: {body}\n\n".encode() if media_type == EVENTS else f"{body}\n".encode()
