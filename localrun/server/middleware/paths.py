"""Request paths: normalization, the choice of the dialect, and hints for paths that are unknown.

`Paths` is plain ASGI and the outermost middleware, so that all others see the same path and
dialect.

``/v1/models/``, ``//v1/models`` and ``/v1//models`` are ``/v1/models``: users type addresses of
servers with a slash at the end, and programs append another. Many programs lose the body of a
request when they follow a redirect.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Receive, Scope, Send

    from localrun.server.dialect import Dialect

SLASHES = re.compile("//+")
OPENAI = ("/chat/", "/completions", "/embeddings", "/models", "/responses", "/messages")


class Paths:
    """Middleware that normalizes the path of a request and stores its dialect in the scope."""

    def __init__(self, app: ASGIApp, *, choose_dialect: Callable[[Scope], Dialect]) -> None:
        self._app = app
        self._choose_dialect = choose_dialect

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] == "http":
            scope["path"] = normalized(scope["path"])
            scope.setdefault("state", {})["dialect"] = self._choose_dialect(scope)
        await self._app(scope, receive, send)


def normalized(path: str) -> str:
    """Return the path without a slash at its end or behind another slash."""
    return SLASHES.sub("/", path).rstrip("/") or "/"


def near_path(path: str) -> str | None:
    """Return a hint for an unknown path if only its prefix is wrong, else None."""
    if path.startswith(OPENAI):
        return f"the address of this API ends in /v1: ask for /v1{path}"
    inner = path.removeprefix("/v1")
    if inner != path and inner.startswith(("/api/", "/v1/")):
        return f"the address of this API ends before /v1: ask for {inner}"
    return None
