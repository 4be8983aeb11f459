"""Requests that the server sends to itself: routes and error handlers, without a connection.

They are answered like those of a client, by the same routes and with the same errors, as background
requests. What guards the server against clients (keys, limits of bodies) is left out.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from starlette.middleware.exceptions import ExceptionMiddleware

from localrun.server.core.client import BACKGROUND, PRIORITY, Clients

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.applications import Starlette
    from starlette.types import Message, Scope

    from localrun.server.dialect import Dialect

NUM_PARSERS = 1  # threads that parse large bodies
HEADERS = [(b"content-type", b"application/json"), (PRIORITY, BACKGROUND)]


@dataclass(frozen=True, slots=True)
class OwnResponse:
    """The response to a request."""

    status: int
    request_id: str
    body: bytes  # JSON

    @property
    def is_ok(self) -> bool:
        """Return whether the request succeeded."""
        return self.status < 400  # noqa: PLR2004 - HTTP's first error

    @property
    def error_code(self) -> str | None:
        """Return the code of the error, None if the request succeeded."""
        if self.is_ok:
            return None
        body = json.loads(self.body)
        error = body.get("error") if isinstance(body, dict) else None
        return error.get("code") if isinstance(error, dict) else None


@dataclass(slots=True)
class _Received:
    """The response of the application as it arrives."""

    status: int = 500
    pieces: list[bytes] = field(default_factory=list)

    async def send(self, message: Message) -> None:
        """Receive a message of the application."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif message["type"] == "http.response.body":
            self.pieces.append(message.get("body", b""))


class OwnRequests:
    """Sends requests to the routes of an application."""

    def __init__(self, app: Starlette, choose_dialect: Callable[[Scope], Dialect]) -> None:
        inner = ExceptionMiddleware(app.router, handlers=app.exception_handlers)
        self._app = Clients(inner)
        self._choose_dialect = choose_dialect
        self._parsers = ThreadPoolExecutor(NUM_PARSERS, thread_name_prefix="own-parse")

    async def post(self, path: str, body: bytes) -> OwnResponse:
        """Return the response to a POST request; cancelling it cancels the request.

        Call it in a task of its own: the priority of the request stays with the task.
        """
        request_id = secrets.token_hex(8)
        scope: Scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "POST",
            "path": path,
            "root_path": "",
            "query_string": b"",
            "headers": HEADERS,
            "client": None,
            "state": {"request_id": request_id, "parsers": self._parsers},
        }
        scope["state"]["dialect"] = self._choose_dialect(scope)
        messages = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def receive() -> Message:
            for message in messages:
                return message
            await asyncio.Event().wait()  # nobody disconnects
            raise AssertionError  # the event is never set

        received = _Received()
        await self._app(scope, receive, received.send)
        return OwnResponse(received.status, request_id, b"".join(received.pieces))
