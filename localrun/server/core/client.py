"""Client and priority of the current request, by which the admission queue orders requests.

The client is the digest of the request's API key, or else its address. A request with the header
``X-Localrun-Priority: background`` gives way to all others. Context variables carry both, so all
code that runs for the request can read them.
"""

from __future__ import annotations

import hashlib
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

KEYS = (b"authorization", b"x-api-key")
PRIORITY = b"x-localrun-priority"
BACKGROUND = b"background"
NUM_DIGITS = 16
_client: ContextVar[str] = ContextVar("client", default="")
_is_background: ContextVar[bool] = ContextVar("is_background", default=False)


def current_client() -> str:
    """Return the client of the current request, or "" outside a request."""
    return _client.get()


def is_background() -> bool:
    """Return whether the current request gives way to others."""
    return _is_background.get()


class Clients:
    """Middleware that sets the client and the priority of each request."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its client and its priority set."""
        if scope["type"] == "http":
            _client.set(client_of(scope))
            _is_background.set(dict(scope["headers"]).get(PRIORITY) == BACKGROUND)
        await self._app(scope, receive, send)


def client_of(scope: Scope) -> str:
    """Return an identifier of a request's client from which no key can be recovered."""
    headers = dict(scope["headers"])
    for name in KEYS:
        if key := headers.get(name):
            return hashlib.sha256(key).hexdigest()[:NUM_DIGITS]
    peer = scope.get("client")
    return str(peer[0]) if peer else ""
