"""Send an answer while it comes, and notice at once when nobody listens any more.

Starlette's own streaming response learns of a disconnect in different ways with
different servers; this one always listens, so that a long prefill is cancelled
too and not only the next token.

While a model loads or reads a long prompt, a sign of life goes out every `QUIET_S`, for
proxies and clients that give up on silence: a comment among server-sent events, and among
lines of JSON a space, which is a part of the next line that no reader of JSON sees. After the
first sign the status is said: what goes wrong then is told by the last event.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi.responses import Response

from localrun.errors import LocalrunError
from localrun.server.anthropic.dialect import error_event, speaks_anthropic
from localrun.server.errors import CLIENT_LEFT, bug_error, error_body
from localrun.server.parsing.requests import unless_disconnected, until_disconnect

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from localrun.server.parsing.fields import JsonObject

    Sign = Callable[[], bytes]
    LastWords = Callable[[LocalrunError], bytes]

_log = logging.getLogger(__name__)

QUIET_S = 10.0
PROGRESS_S = 0.25
EVENTS = "text/event-stream"
COMMENT = b": localrun is at work\n\n"
SPACE = b" "
DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamFormat:
    """How a stream is written: its type, a sign of life, and how an error ends it."""

    media_type: str
    sign_of_life: bytes
    last_words: LastWords
    progress: Sign | None = None


async def streamed(
    request: Request,
    chunks: AsyncGenerator[bytes, None],
    media_type: str,
    last_words: LastWords | None = None,
    progress: Sign | None = None,
) -> Response:
    """Return the response of these chunks once the first has come, or is long in coming.

    Until it has come, ``progress`` is asked several times a second what to send.

    What ``chunks`` raises until then is raised here, and so can have a status of its own. What
    it raises later ends the stream by ``last_words``, or in those of the API that was called.
    """
    first = asyncio.ensure_future(anext(chunks))
    is_there = False
    try:
        waiting = asyncio.wait({first}, timeout=PROGRESS_S if progress else QUIET_S)
        waited = await unless_disconnected(request, waiting)
        is_there = waited is not None
    finally:
        if not is_there:
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
    if not is_there:
        return Response(status_code=CLIENT_LEFT)
    if first.done():
        first.result()  # which raises what it failed by
    manner = StreamFormat(
        media_type=media_type,
        sign_of_life=COMMENT if media_type == EVENTS else SPACE,
        last_words=last_words or _last_words(request.scope, media_type),
        progress=progress,
    )
    return ChunkResponse(first, chunks, manner)


class ChunkResponse(Response):
    """A body of chunks from an async generator, which is closed at the end in every case."""

    def __init__(
        self, first: asyncio.Future[bytes], rest: AsyncGenerator[bytes, None], manner: StreamFormat
    ) -> None:
        super().__init__(media_type=manner.media_type, headers={"Cache-Control": "no-cache"})
        del self.headers["content-length"]
        self._first = first
        self._rest = rest
        self._manner = manner
        self._last_at = 0.0  # when something was sent

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send head and chunks until the end or the client's."""
        await until_disconnect(receive, self._send_all(send, scope["path"]))

    async def _send_all(self, send: Send, path: str) -> None:
        async with contextlib.aclosing(self._rest):
            await send(
                {
                    "type": "http.response.start",
                    "status": self.status_code,
                    "headers": self.raw_headers,
                }
            )
            signs = asyncio.create_task(self._show_life(send))
            try:
                await self._send_chunks(send)
            except LocalrunError as error:
                await _send_chunk(send, self._manner.last_words(error))
            except Exception:  # noqa: BLE001 - the status is said: its client would see a broken connection
                _log.exception("the answer to %s failed in the middle", path)
                await _send_chunk(send, self._manner.last_words(bug_error()))
            finally:
                signs.cancel()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_chunks(self, send: Send) -> None:
        if not self._first.done() and self._manner.progress is not None:
            await self._show_progress(send, self._manner.progress)
        elif not self._first.done():  # a sign is due: `streamed` has waited
            await _send_chunk(send, self._manner.sign_of_life)
        await _send_chunk(send, await self._first)
        self._last_at = time.monotonic()
        async for chunk in self._rest:
            await _send_chunk(send, chunk)
            self._last_at = time.monotonic()

    async def _show_progress(self, send: Send, progress: Sign) -> None:
        """Send what there is to tell until the first chunk comes."""
        while not self._first.done():
            if told := progress():
                await _send_chunk(send, told)
                self._last_at = time.monotonic()
            await asyncio.wait({self._first}, timeout=PROGRESS_S)

    async def _show_life(self, send: Send) -> None:
        """Send a sign whenever nothing else was sent for a while."""
        self._last_at = time.monotonic()
        while True:
            silent_s = time.monotonic() - self._last_at
            if silent_s >= QUIET_S:
                await _send_chunk(send, self._manner.sign_of_life)
                silent_s, self._last_at = 0.0, time.monotonic()
            await asyncio.sleep(QUIET_S - silent_s)


async def _send_chunk(send: Send, chunk: bytes) -> None:
    await send({"type": "http.response.body", "body": chunk, "more_body": True})


def _last_words(scope: Scope, media_type: str) -> LastWords:
    def told(error: LocalrunError) -> bytes:
        if speaks_anthropic(scope):
            return b"event: error\ndata: %b\n\n" % _json(error_event(scope, error))
        body = _json(error_body(scope["path"], error))
        return b"data: %b\n\n%b" % (body, DONE) if media_type == EVENTS else body + b"\n"

    return told


def _json(body: JsonObject) -> bytes:
    return json.dumps(body, ensure_ascii=False).encode()
