"""Who asks: each request's client, so that turns can be fair between clients.

A key where one is sent, else the address; known to whatever runs for the request.
"""

from __future__ import annotations

import hashlib
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

KEYS = (b"authorization", b"x-api-key")
NUM_DIGITS = 16
_client: ContextVar[str] = ContextVar("client", default="")


def current_client() -> str:
    """Return the client whose request is worked on, "" outside of one."""
    return _client.get()


class Clients:
    """The middleware that notes it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request through under its client's name."""
        if scope["type"] == "http":
            _client.set(client_of(scope))
        await self._app(scope, receive, send)


def client_of(scope: Scope) -> str:
    """Return what tells a client from others; no key can be read back from it."""
    headers = dict(scope["headers"])
    for name in KEYS:
        if key := headers.get(name):
            return hashlib.sha256(key).hexdigest()[:NUM_DIGITS]
    peer = scope.get("client")
    return str(peer[0]) if peer else ""
