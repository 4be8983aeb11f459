"""Checks of each request before any route: plain ASGI.

x-request-id  the client's id if it is valid, else a random one (`access_log`)
Host, Origin  names of this machine and allowed web pages only (`origins`), with CORS headers
API key       required on all paths but health checks, if the server has keys (`keys`); a browser
              sends the cookie of a session instead (`sessions`), and may load the login page
body          limits of size and rate, decompression (`bodies`, `encodings`); the rest of a body
              that was answered before its end is read and discarded (`unread`)

Each request ends in one line of the access log.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response

from localrun.errors import (
    LocalrunError,
    UnauthorizedError,
    UnsupportedEncodingError,
    UsageError,
)
from localrun.server.dialect import REQUEST_ID, dialect_of
from localrun.server.errors import error_response
from localrun.server.middleware.access_log import LoggedResponse, begin_request
from localrun.server.middleware.activity import READS
from localrun.server.middleware.bodies import BodyReader, OpenBodies, check_body_size
from localrun.server.middleware.encodings import ENCODINGS, Decoder, decoder_of
from localrun.server.middleware.keys import key_of
from localrun.server.middleware.sessions import Sessions
from localrun.server.middleware.unread import UnreadBody

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from localrun.server.middleware.keys import Keys
    from localrun.server.middleware.origins import AllowedOrigins

FORBIDDEN = 403
INTERNAL_ERROR = 500
UPLOADS = ("/api/blobs/", "/v1/files")  # files, written to disk while they arrive
HEALTH = frozenset({"/healthz", "/health", "/readyz"})
PAGE, LOGIN, PAGE_FILES = "/", "/login", "/web/"  # the same for everybody, without any data
NUM_PARSERS = 2  # threads that parse large bodies

HTML = b"text/html"

Headers = dict[bytes, bytes]


class AuthenticationMiddleware:
    """Middleware that passes a request on, answers it, or refuses it."""

    def __init__(self, app: ASGIApp, *, origins: AllowedOrigins, keys: Keys) -> None:
        self._app = app
        self._origins = origins
        self._keys = keys
        self._sessions = Sessions(keys)
        self._open_bodies = OpenBodies()
        self._parsers = ThreadPoolExecutor(NUM_PARSERS, thread_name_prefix="parse")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers: Headers = dict(scope["headers"])
        request_id = begin_request(headers.get(REQUEST_ID, b""))
        scope["state"].update(request_id=request_id, parsers=self._parsers, sessions=self._sessions)
        unread = UnreadBody(scope, receive, send)
        id_headers = [(name, request_id.encode()) for name in dialect_of(scope).request_id_headers]
        response = LoggedResponse(scope, unread.send, id_headers)
        try:
            await self._handle(scope, headers, unread.receive, response)
        except Exception:
            response.status = INTERNAL_ERROR  # the outer error middleware sends it
            raise
        finally:
            response.log()

    async def _handle(
        self, scope: Scope, headers: Headers, receive: Receive, response: LoggedResponse
    ) -> None:
        origin = headers.get(b"origin", b"").decode("latin-1")
        refusal = self._origins.refusal(headers.get(b"host", b"").decode("latin-1"), origin)
        if refusal is not None:
            forbidden = error_response(scope, UsageError(refusal), FORBIDDEN)
            await forbidden(scope, receive, response.send)
            return
        response.headers += _cors(origin)
        if scope["method"] == "OPTIONS" and b"access-control-request-method" in headers:
            response.headers += _private_network(headers)
            await Response(status_code=204)(scope, receive, response.send)
            return
        is_upload = scope["path"].startswith(UPLOADS)
        try:
            response.key_name = self._key_name(scope, headers)
            scope["state"]["has_api_key"] = response.key_name is not None
            scope["state"]["needs_api_key"] = bool(self._keys)
            check_body_size(0 if is_upload else _content_length(headers))
            decoder = _decoder(scope, headers, is_upload=is_upload)
        except LocalrunError as error:
            await _refused(scope, error)(scope, receive, response.send)
            return
        body = BodyReader(receive, self._open_bodies, is_upload=is_upload, decoder=decoder)
        try:
            await self._app(scope, body, response.send)
        finally:
            body.close()

    def _key_name(self, scope: Scope, headers: Headers) -> str | None:
        """Return the name of the API key of a request, None if the path requires no key.

        Raises:
            UnauthorizedError: the key is missing or wrong.
        """
        path: str = scope["path"]
        if not self._keys or path in HEALTH:
            return None
        key = key_of(headers)
        name = self._keys.name_of(key) if key else self._sessions.name_of(scope["method"], headers)
        if name is None and not (path == LOGIN or _loads_page(path, headers)):
            message = "the API key is wrong" if key else "this server asks for an API key"
            raise UnauthorizedError(
                message, hint="LOCALRUN_API_KEY for localrun; others send Authorization: Bearer KEY"
            )
        return name


def _loads_page(path: str, headers: Headers) -> bool:
    """Return whether a browser loads the page, which is that of the login without a session."""
    return path.startswith(PAGE_FILES) or (path == PAGE and HTML in headers.get(b"accept", b""))


def _refused(scope: Scope, error: LocalrunError) -> JSONResponse:
    response = error_response(scope, error)
    if isinstance(error, UnauthorizedError):
        response.headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, UnsupportedEncodingError):
        response.headers["Accept-Encoding"] = ", ".join(ENCODINGS)
    return response


def _decoder(scope: Scope, headers: Headers, *, is_upload: bool) -> Decoder | None:
    """Return the decoder of a request's body, None if the body is not compressed.

    Raises:
        UnsupportedEncodingError: the encoding is unknown, or the body is an uploaded file.
    """
    if scope["method"] in READS:
        return None
    decoder = decoder_of(headers.get(b"content-encoding", b"").decode("latin-1"))
    if decoder is not None and is_upload:
        raise UnsupportedEncodingError("files are uploaded as they are, not compressed")
    return decoder


def _content_length(headers: Headers) -> int:
    """Return the Content-Length in bytes, 0 if the header is absent or malformed."""
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
    """Return the header that Chrome requires before a public web page may call this machine."""
    if b"access-control-request-private-network" not in headers:
        return []
    return [(b"access-control-allow-private-network", b"true")]
