"""A connection to an HTTP server that is kept for one request after another.

Knows no address: its owner opens the sockets. One thread sends, and any thread may close.
"""

from __future__ import annotations

import contextlib
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.client.http import ServerResponse, send_request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True, slots=True)
class WholeResponse:
    """A whole response; the names of its headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class KeptConnection:
    """Connection that is opened with the first request, and anew after it was lost."""

    def __init__(
        self,
        connect: Callable[[], socket.socket],
        headers: Mapping[str, str],
        *,
        timeout_s: float | None = None,
    ) -> None:
        """``headers`` go with each request; ``timeout_s`` bounds a wait for the next bytes."""
        self._connect = connect
        self._headers = headers
        self._timeout_s = timeout_s
        self._socket: socket.socket | None = None
        self._is_closed = False

    def post(self, path: str, body: bytes) -> WholeResponse:
        """Return the response to a POST request; blocks.

        A kept connection that the server has closed meanwhile is opened again.

        Raises:
            OSError: the connection is lost, or was closed by another thread.
            ProtocolError: the other side does not speak HTTP.
        """
        was_kept = self._socket is not None
        try:
            return self._exchange(path, body)
        except ConnectionError:
            self._drop()
            if not was_kept or self._is_closed:
                raise
            return self._exchange(path, body)
        except BaseException:
            self._drop()
            raise

    def close(self) -> None:
        """Close the connection, which ends a request that runs; safe from any thread."""
        self._is_closed = True
        connection = self._socket
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _exchange(self, path: str, body: bytes) -> WholeResponse:
        if self._is_closed:
            raise ConnectionAbortedError("the connection was closed")
        if self._socket is None:
            self._socket = self._connect()
        connection = self._socket
        connection.settimeout(self._timeout_s)
        send_request(connection, "POST", path, self._headers, body)
        response = ServerResponse(connection)
        reply = WholeResponse(response.status, response.headers, response.read())
        if response.headers.get("connection", "").lower() == "close":
            self._drop()
        return reply

    def _drop(self) -> None:
        connection, self._socket = self._socket, None
        if connection is not None:
            connection.close()
