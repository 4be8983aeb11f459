"""Streamed answers: chunks with keep-alives, an error as the last event, and disconnect detection.

Starlette's own streaming response detects a disconnect in different ways with different servers.
This response always listens, so that a disconnect also cancels a long prefill and not only the
next token.

While a model loads or a long prompt is computed, a keep-alive is sent every `QUIET_S`, for
proxies and clients that give up on silence. The first keep-alive sends the HTTP status. An error
after it ends the stream by an event in the dialect of the request.

Clients may ask for fewer, larger chunks: see `localrun.server.pacing`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from starlette.responses import Response

from localrun.errors import LocalrunError
from localrun.server.dialect import dialect_of, report_of
from localrun.server.errors import CLIENT_LEFT, bug_error
from localrun.server.pacing import PacedSender, requested_interval_s
from localrun.server.parsing.requests import unless_disconnected, until_disconnect

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from localrun.server.dialect import Dialect

    Progress = Callable[[], bytes]
    EncodeError = Callable[[LocalrunError], bytes]

_log = logging.getLogger(__name__)

QUIET_S = 10.0
PROGRESS_S = 0.25


async def streamed(
    request: Request,
    chunks: AsyncGenerator[bytes, None],
    *,
    progress: Progress | None = None,
    encode_error: EncodeError | None = None,
) -> Response:
    """Return the streaming response of ``chunks`` once the first chunk or a keep-alive is due.

    An exception that ``chunks`` raises until then is raised here, so that it can have a status of
    its own. A later exception ends the stream by an event, which the dialect of the request
    writes, or ``encode_error`` if it is given.

    Until the first chunk, ``progress`` is called every `PROGRESS_S` for bytes to send.

    Raises:
        UsageError: the interval that the client asks for is wrong.
    """
    interval_s = requested_interval_s(request.headers)
    first = asyncio.ensure_future(anext(chunks))
    is_connected = False
    try:
        waiting = asyncio.wait({first}, timeout=PROGRESS_S if progress else QUIET_S)
        is_connected = await unless_disconnected(request, waiting) is not None
    finally:
        if not is_connected:
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
    if not is_connected:
        return Response(status_code=CLIENT_LEFT)
    if first.done():
        first.result()  # raises the exception of a failed first chunk
    dialect = dialect_of(request.scope)
    ending = _Ending(dialect, request.scope, encode_error)
    return ChunkResponse(first, chunks, ending, progress, interval_s)


@dataclass(frozen=True, slots=True)
class _Ending:
    """The last bytes of a stream."""

    dialect: Dialect
    scope: Scope
    encode_error: EncodeError | None

    def after(self, error: LocalrunError) -> bytes:
        """Return the event of an error."""
        if self.encode_error is not None:
            return self.encode_error(error)
        return self.dialect.framing.encode(self.dialect.error_body(report_of(self.scope, error)))


class ChunkResponse(Response):
    """Response of the chunks of an async generator, which is closed at the end in every case."""

    def __init__(
        self,
        first: asyncio.Future[bytes],
        others: AsyncGenerator[bytes, None],
        ending: _Ending,
        progress: Progress | None,
        interval_s: float,
    ) -> None:
        framing = ending.dialect.framing
        super().__init__(media_type=framing.media_type, headers={"Cache-Control": "no-cache"})
        del self.headers["content-length"]
        self._first = first
        self._others = others
        self._ending = ending
        self._keep_alive = framing.keep_alive
        self._progress = progress
        self._interval_s = interval_s
        self._sent_at = 0.0  # time.monotonic() of the last chunk

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send head and chunks until the generator ends or the client disconnects."""
        await until_disconnect(receive, self._send_all(send, scope["path"]))

    async def _send_all(self, send: Send, path: str) -> None:
        async with contextlib.aclosing(self._others):
            await send(
                {
                    "type": "http.response.start",
                    "status": self.status_code,
                    "headers": self.raw_headers,
                }
            )
            keep_alives = asyncio.create_task(self._send_keep_alives(send))
            try:
                await self._send_chunks(send)
            except LocalrunError as error:
                await _send_chunk(send, self._ending.after(error))
            except Exception:  # noqa: BLE001 - the status is sent: the client would see a broken connection
                _log.exception("the answer to %s failed in the middle", path)
                await _send_chunk(send, self._ending.after(bug_error()))
            finally:
                keep_alives.cancel()
        final_frame = self._ending.dialect.final_frame
        await send({"type": "http.response.body", "body": final_frame, "more_body": False})

    async def _send_chunks(self, send: Send) -> None:
        if not self._first.done() and self._progress is not None:
            await self._send_progress(send, self._progress)
        elif not self._first.done():  # `streamed` has waited for QUIET_S
            await _send_chunk(send, self._keep_alive)
        await _send_chunk(send, await self._first)
        self._sent_at = time.monotonic()
        sender = PacedSender(partial(_send_chunk, send), self._interval_s)
        try:
            async for chunk in self._others:
                await sender.add(chunk)
                self._sent_at = time.monotonic()
        finally:
            await sender.finish()

    async def _send_progress(self, send: Send, progress: Progress) -> None:
        """Send the bytes of ``progress`` until the first chunk arrives."""
        while not self._first.done():
            if status := progress():
                await _send_chunk(send, status)
                self._sent_at = time.monotonic()
            await asyncio.wait({self._first}, timeout=PROGRESS_S)

    async def _send_keep_alives(self, send: Send) -> None:
        """Send a keep-alive whenever nothing was sent for `QUIET_S`."""
        self._sent_at = time.monotonic()
        while True:
            silent_s = time.monotonic() - self._sent_at
            if silent_s >= QUIET_S:
                await _send_chunk(send, self._keep_alive)
                silent_s, self._sent_at = 0.0, time.monotonic()
            await asyncio.sleep(QUIET_S - silent_s)


async def _send_chunk(send: Send, chunk: bytes) -> None:
    await send({"type": "http.response.body", "body": chunk, "more_body": True})
