"""Read the path of a request as it was meant, or tell where it would have been right.

`PlainPaths` is plain ASGI, outermost, so that all see the same.

``/v1/models/``, ``//v1/models`` and ``/v1//models`` are ``/v1/models``: addresses of servers are
typed with a slash at their end, and programs put another behind it. A redirect would lose the
body with many of them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

SLASHES = re.compile("//+")
OPENAI = ("/chat/", "/completions", "/embeddings", "/models", "/responses", "/messages")


class PlainPaths:
    """Takes slashes out that separate nothing."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] == "http":
            scope["path"] = plain(scope["path"])
        await self._app(scope, receive, send)


def plain(path: str) -> str:
    """Return the path without a slash at its end or behind another."""
    return SLASHES.sub("/", path).rstrip("/") or "/"


def near_path(path: str) -> str | None:
    """Return a hint for a path that is nothing here, but for what programs put before it."""
    if path.startswith(OPENAI):
        return f"the address of this API ends in /v1: ask for /v1{path}"
    inner = path.removeprefix("/v1")
    if inner != path and inner.startswith(("/api/", "/v1/")):
        return f"the address of this API ends before /v1: ask for {inner}"
    return None
