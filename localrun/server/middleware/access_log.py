"""Access log: one line per request, and the request id on each line of the log.

A client may choose the id if it is short and of harmless characters; any other id would let the
client write lines of its own into the log. A line has the method, path, status, duration and the
name of the API key; never a header or a body. Reads are logged at debug, and so is what a page asks
many times a second.
"""

from __future__ import annotations

import logging
import re
import secrets
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING
from urllib.parse import quote

from localrun.server.middleware.activity import READS

if TYPE_CHECKING:
    from starlette.types import Message, Scope, Send

_log = logging.getLogger(__name__)

VALID_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}", re.ASCII)
LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s%(request)s: %(message)s"
MAX_PATH = 200  # characters of a path in the log
CLIENT_LEFT = 499
FREQUENT = frozenset({"/api/localrun/render", "/api/localrun/presence"})

_current: ContextVar[str] = ContextVar("request_id", default="")


def begin_request(client_id: bytes) -> str:
    """Return the id of a request and make it the current id of this task.

    An id from the client that is not valid is replaced by a random one.
    """
    request_id = client_id.decode() if VALID_ID.fullmatch(client_id) else secrets.token_hex(8)
    _current.set(request_id)
    return request_id


class RequestFilter(logging.Filter):
    """Adds the current request id to each record."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Set ``record.request``; no record is dropped."""
        request_id = _current.get()
        record.request = f" [{request_id}]" if request_id else ""
        return True


class LoggedResponse:
    """An ASGI ``send`` that adds headers to the response and remembers its status for the log."""

    def __init__(self, scope: Scope, send: Send, headers: list[tuple[bytes, bytes]]) -> None:
        self.headers = headers
        self.status = CLIENT_LEFT  # until the response begins
        self.key_name: str | None = None
        self._scope = scope
        self._send = send
        self._started_at = time.monotonic()

    async def send(self, message: Message) -> None:
        """Send a message of the response."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": [*message.get("headers", ()), *self.headers]}
        await self._send(message)

    def log(self) -> None:
        """Write the line of the request."""
        method = self._scope["method"]
        is_quiet = method in READS or self._scope["path"] in FREQUENT
        _log.log(
            logging.DEBUG if is_quiet else logging.INFO,
            "%s %s %s %.3f s%s",
            method,
            quote(self._scope["path"][:MAX_PATH], safe="/:+@"),
            self.status,
            time.monotonic() - self._started_at,
            f" key {self.key_name}" if self.key_name else "",
        )
