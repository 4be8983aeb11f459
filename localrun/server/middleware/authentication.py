"""Who may talk to the server: plain ASGI, before any route.

x-request-id  the client's where it is sane, or made; see request_id.py; Anthropic's clients
              read it as request-id
Host, Origin  only names of this machine and pages that may; see origins.py
key           asked for everything but health, where the server has keys; see keys.py
body          not too large, not too slow, decompressed; see bodies.py and encodings.py; one
              that was answered before it was read is read on; see unread.py

Each request that changes or costs something leaves one line in the log: what was asked, of
whose key, how it ended, how long it took; never a header or a body.
"""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from urllib.parse import quote

from fastapi.responses import JSONResponse, Response

from localrun.errors import (
    LocalrunError,
    UnauthorizedError,
    UnsupportedEncodingError,
    UsageError,
)
from localrun.server.dialect import REQUEST_ID, dialect_of
from localrun.server.errors import error_response
from localrun.server.middleware.activity import LOOKS
from localrun.server.middleware.bodies import BodyReader, OpenBodies, refuse_larger
from localrun.server.middleware.encodings import TAKEN, Decoder, decoder_of
from localrun.server.middleware.keys import presented_key
from localrun.server.middleware.request_id import begin_request
from localrun.server.middleware.unread import UnreadBody

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from localrun.server.middleware.keys import Keys
    from localrun.server.middleware.origins import AllowedOrigins

_log = logging.getLogger(__name__)

FORBIDDEN = 403
CLIENT_LEFT = 499
INTERNAL_ERROR = 500
UPLOADS = "/api/blobs/"
HEALTH = frozenset({"/healthz", "/health", "/readyz"})
LONGEST_PATH = 200  # in the log
NUM_PARSERS = 2  # large bodies that are parsed at once

Headers = dict[bytes, bytes]


class AuthenticationMiddleware:
    """The middleware."""

    def __init__(self, app: ASGIApp, *, visitors: AllowedOrigins, keys: Keys) -> None:
        self._app = app
        self._visitors = visitors
        self._keys = keys
        self._open_bodies = OpenBodies()
        self._parsers = ThreadPoolExecutor(NUM_PARSERS, thread_name_prefix="parse")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, answer it here, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers: Headers = dict(scope["headers"])
        request_id = begin_request(headers.get(REQUEST_ID, b""))
        scope["state"].update(request_id=request_id, parsers=self._parsers)
        unread = UnreadBody(scope, receive, send)
        names = dialect_of(scope).request_id_headers
        visit = _Visit(scope, unread.send, [(name, request_id.encode()) for name in names])
        try:
            await self._answer(visit, headers, unread.receive)
        except Exception:
            visit.status = INTERNAL_ERROR  # what is sent for it, further out
            raise
        finally:
            visit.log()

    async def _answer(self, visit: _Visit, headers: Headers, receive: Receive) -> None:
        scope, origin = visit.scope, headers.get(b"origin", b"").decode("latin-1")
        refused = self._visitors.refusal(headers.get(b"host", b"").decode("latin-1"), origin)
        if refused is not None:
            response = error_response(scope, UsageError(refused), FORBIDDEN)
            await response(scope, receive, visit.send)
            return
        visit.extra += _cors(origin)
        if scope["method"] == "OPTIONS" and b"access-control-request-method" in headers:
            visit.extra += _private_network(headers)
            await Response(status_code=204)(scope, receive, visit.send)
            return
        is_upload = scope["path"].startswith(UPLOADS)
        try:
            visit.holder = self._holder(scope["path"], headers)
            refuse_larger(0 if is_upload else _announced(headers))
            decoder = _decoder(scope, headers, is_upload=is_upload)
        except LocalrunError as error:
            await _refusal(scope, error)(scope, receive, visit.send)
            return
        body = BodyReader(receive, self._open_bodies, is_upload=is_upload, decoder=decoder)
        try:
            await self._app(scope, body, visit.send)
        finally:
            body.close()

    def _holder(self, path: str, headers: Headers) -> str | None:
        """Return whose key a request has, None where none is asked for.

        Raises:
            UnauthorizedError: it has none, or a wrong one.
        """
        if not self._keys or path in HEALTH:
            return None
        presented = presented_key(headers)
        holder = self._keys.holder(presented)
        if holder is None:
            what = "the API key is wrong" if presented else "this server asks for an API key"
            raise UnauthorizedError(
                what, hint="LOCALRUN_API_KEY for localrun; others send Authorization: Bearer KEY"
            )
        return holder


class _Visit:
    """One request on its way: what its answer's head gets, and what the log tells of it."""

    def __init__(self, scope: Scope, send: Send, extra: list[tuple[bytes, bytes]]) -> None:
        self.scope = scope
        self.extra = extra
        self.status = CLIENT_LEFT  # until an answer begins
        self.holder: str | None = None
        self._send = send
        self._begun = time.monotonic()

    async def send(self, message: Message) -> None:
        """Pass on what is sent."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": [*message.get("headers", ()), *self.extra]}
        await self._send(message)

    def log(self) -> None:
        """Leave the line."""
        level = logging.DEBUG if self.scope["method"] in LOOKS else logging.INFO
        whose = f" key {self.holder}" if self.holder else ""
        path = quote(self.scope["path"][:LONGEST_PATH], safe="/:+@")
        seconds = time.monotonic() - self._begun
        _log.log(
            level, "%s %s %s %.3f s%s", self.scope["method"], path, self.status, seconds, whose
        )


def _refusal(scope: Scope, error: LocalrunError) -> JSONResponse:
    response = error_response(scope, error)
    if isinstance(error, UnauthorizedError):
        response.headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, UnsupportedEncodingError):
        response.headers["Accept-Encoding"] = ", ".join(TAKEN)
    return response


def _decoder(scope: Scope, headers: Headers, *, is_upload: bool) -> Decoder | None:
    """Return what decompresses a body, None for a plain one.

    Raises:
        UnsupportedEncodingError: the encoding is unknown, or the body is a file.
    """
    if scope["method"] in LOOKS:
        return None
    decoder = decoder_of(headers.get(b"content-encoding", b"").decode("latin-1"))
    if decoder is not None and is_upload:
        raise UnsupportedEncodingError("files are sent as they are, not compressed")
    return decoder


def _announced(headers: Headers) -> int:
    """Return how large the body is to be, 0 where the head does not say."""
    length = headers.get(b"content-length", b"")
    return int(length) if length.isdigit() else 0


def _cors(origin: str) -> list[tuple[bytes, bytes]]:
    if not origin:
        return []
    return [
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-allow-headers", b"*, authorization, content-type"),
        (b"access-control-allow-methods", b"GET, POST, DELETE, HEAD, OPTIONS"),
        (b"access-control-expose-headers", b"x-request-id, retry-after"),
        (b"vary", b"origin"),
    ]


def _private_network(headers: Headers) -> list[tuple[bytes, bytes]]:
    """Return what Chrome wants to hear before a page of the internet may call this machine."""
    if b"access-control-request-private-network" not in headers:
        return []
    return [(b"access-control-allow-private-network", b"true")]
