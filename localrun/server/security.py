"""Who may talk to the server: plain ASGI, before any route.

Host        on loopback, only names of this machine (DNS rebinding)
Origin      only pages of this machine; others get no CORS headers and a 403
body        at most `LARGEST_BODY` bytes, counted as they come; but for uploads of files,
            which are never held in memory
x-request-id  echoed, or made; Anthropic's clients read it as request-id
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fastapi.responses import Response

from localrun.errors import BodyTooLargeError, UsageError
from localrun.server.anthropic.dialect import speaks_anthropic
from localrun.server.errors import error_response

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST_BODY = 64 * 1024 * 1024
LOCAL_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})
LOCAL_SCHEMES = frozenset({"app", "file", "tauri", "vscode-webview", "vscode-file"})
FORBIDDEN = 403
REQUEST_ID = b"x-request-id"
ANTHROPIC_ID = b"request-id"
UPLOADS = "/api/blobs/"
LONGEST_REQUEST_ID = 128


class Gate:
    """The middleware."""

    def __init__(self, app: ASGIApp, *, is_loopback: bool) -> None:
        self._app = app
        self._is_loopback = is_loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, answer it here, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        origin = headers.get(b"origin", b"").decode("latin-1")
        refusal = self._refusal(headers.get(b"host", b"").decode("latin-1"), origin)
        if refusal is not None:
            await error_response(scope, UsageError(refusal), FORBIDDEN)(scope, receive, send)
            return
        request_id = headers.get(REQUEST_ID, b"")[:LONGEST_REQUEST_ID]
        request_id = request_id or secrets.token_hex(8).encode()
        scope.setdefault("state", {})["request_id"] = request_id.decode("latin-1")
        names = [REQUEST_ID, *([ANTHROPIC_ID] if speaks_anthropic(scope) else [])]
        sender = _adding(send, [*((name, request_id) for name in names), *_cors(origin)])
        if scope["method"] == "OPTIONS" and b"access-control-request-method" in headers:
            await Response(status_code=204)(scope, receive, sender)
            return
        is_upload = scope["path"].startswith(UPLOADS)
        await self._app(scope, receive if is_upload else _bounded(receive), sender)

    def _refusal(self, host: str, origin: str) -> str | None:
        if self._is_loopback and _name(f"//{host}") not in LOCAL_NAMES:
            return f"the Host header names another machine: {host}"
        if origin and not _is_local(origin):
            return f"pages of {origin} may not use this server"
        return None


def _is_local(origin: str) -> bool:
    return urlsplit(origin).scheme in LOCAL_SCHEMES or _name(origin) in LOCAL_NAMES


def _name(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _cors(origin: str) -> list[tuple[bytes, bytes]]:
    if not origin:
        return []
    return [
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-allow-headers", b"*, authorization, content-type"),
        (b"access-control-allow-methods", b"GET, POST, DELETE, HEAD, OPTIONS"),
        (b"vary", b"origin"),
    ]


def _adding(send: Send, extra: list[tuple[bytes, bytes]]) -> Send:
    async def add(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *extra]}
        await send(message)

    return add


def _bounded(receive: Receive) -> Receive:
    taken = 0

    async def count() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > LARGEST_BODY:
            raise BodyTooLargeError(f"the body is larger than {LARGEST_BODY // 1024 // 1024} MiB")
        return message

    return count
