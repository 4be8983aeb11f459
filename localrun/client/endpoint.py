"""An OpenAI-compatible server of any make: its address, its key, and requests to it.

Knows HTTP and the events of a stream, and no model. Errors name the address; a key is sent to this
address alone and is part of no message.
"""

from __future__ import annotations

import contextlib
import json
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from localrun.client.connecting import CONNECT_TIMEOUT_S, connect, with_tls
from localrun.client.http import ProtocolError, ServerResponse, send_request
from localrun.errors import BackendError, ServerUnreachableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localrun.settings import Settings

PORTS = {"http": 80, "https": 443}
DATA, DONE = b"data:", b"[DONE]"
FIRST_ERROR_STATUS = 400
SHOWN_ERROR = 300  # characters


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """An object of a stream and when it arrived, in seconds of a monotonic clock."""

    at_s: float
    body: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Address of a server; ``settings`` is set if it is the localrun server of the settings."""

    name: str
    host: str
    port: int
    is_tls: bool = False
    path: str = ""  # before "/v1"
    key: str | None = None
    settings: Settings | None = None

    def get(self, path: str) -> Any:  # noqa: ANN401 - any JSON value
        """Return the JSON that a path answers with.

        Raises:
            LocalrunError: see `post`.
        """
        return self._whole("GET", path, None)

    def post(self, path: str, body: dict[str, Any]) -> Any:  # noqa: ANN401 - any JSON value
        """Return the JSON answer to a request.

        Raises:
            ServerUnreachableError: nothing answers, or not in HTTP.
            BackendError: the server reports an error.
        """
        return self._whole("POST", path, body)

    def stream(self, path: str, body: dict[str, Any]) -> Iterator[StreamEvent]:
        """Yield the events of a streamed answer.

        Raises:
            LocalrunError: see `post`; also in the middle of the answer.
        """
        with self._open("POST", path, {**body, "stream": True}) as response, self._named():
            for line in response.lines():
                at_s = time.monotonic()
                if not line.startswith(DATA):
                    continue
                content = line.removeprefix(DATA).strip()
                if content == DONE:
                    return
                event = _object(content)
                if "error" in event:
                    raise BackendError(f"{self.name}: {_message(event)}")
                yield StreamEvent(at_s, event)

    def _whole(self, method: str, path: str, body: dict[str, Any] | None) -> Any:  # noqa: ANN401 - any JSON value
        with self._open(method, path, body) as response, self._named():
            content = response.read()
        try:
            return json.loads(content)
        except ValueError as error:
            raise ServerUnreachableError(f"{self.name} does not answer in JSON") from error

    @contextlib.contextmanager
    def _open(
        self, method: str, path: str, body: dict[str, Any] | None
    ) -> Iterator[ServerResponse]:
        content = None if body is None else json.dumps(body).encode()
        headers = {"Host": self.host, "Content-Type": "application/json", "Connection": "close"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        with self._named():
            connection = self._connected()
            try:
                connection.settimeout(None)
                send_request(connection, method, self.path + path, headers, content)
                response = ServerResponse(connection)
            except BaseException:
                connection.close()
                raise
        with contextlib.closing(response):
            if response.status >= FIRST_ERROR_STATUS:
                with self._named():
                    message = _message(_object(response.read()))
                raise BackendError(f"{self.name} answers {response.status}: {message}")
            yield response

    def _connected(self) -> socket.socket:
        if self.settings is not None:
            return with_tls(connect(self.settings, CONNECT_TIMEOUT_S), self.settings)
        connection = socket.create_connection((self.host, self.port), CONNECT_TIMEOUT_S)
        if not self.is_tls:
            return connection
        import ssl  # lazy: takes longer than a request

        return ssl.create_default_context().wrap_socket(connection, server_hostname=self.host)

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ProtocolError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ServerUnreachableError(f"{self.name} does not answer: {reason}") from error


def own_endpoint(settings: Settings) -> Endpoint:
    """Return the localrun server of the settings."""
    return Endpoint(
        name="localrun",
        host=settings.address,
        port=settings.port,
        is_tls=settings.is_tls,
        key=settings.access.api_key,
        settings=settings,
    )


def parse_endpoint(url: str, key: str | None) -> Endpoint:
    """Return the server of a URL, with or without ``/v1`` at its end.

    Raises:
        UsageError: it is no URL of a server.
    """
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        port = parts.port
    except ValueError as error:
        raise UsageError(f"{url} is no address of a server: {error}") from error
    if parts.scheme not in PORTS or not parts.hostname or parts.username or parts.query:
        raise UsageError(f"{url} is no address of a server", hint="--compare http://127.0.0.1:8080")
    return Endpoint(
        name=parts.netloc,
        host=parts.hostname,
        port=port or PORTS[parts.scheme],
        is_tls=parts.scheme == "https",
        path=parts.path.rstrip("/").removesuffix("/v1"),
        key=key,
    )


def _object(content: bytes) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return {"error": content[:SHOWN_ERROR].decode(errors="replace")}
    return value if isinstance(value, dict) else {"error": "no object"}


def _message(body: dict[str, Any]) -> str:
    error = body.get("error", body)
    message = error.get("message", error) if isinstance(error, dict) else error
    return str(message)[:SHOWN_ERROR]
