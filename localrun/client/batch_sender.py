"""Sender of a batch's requests: one kept connection to the server of the settings for each thread.

A server that is gone is started again, once for all threads that notice.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from localrun.batches.driver import SERVER_GONE
from localrun.batches.outcome import Outcome
from localrun.client.connecting import CONNECT_TIMEOUT_S, connect, with_tls
from localrun.client.http import ProtocolError
from localrun.client.kept_connection import KeptConnection
from localrun.client.launch import ensure_server

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from localrun.settings import Settings

REQUEST_ID = "x-request-id"
JSON = "application/json"
BACKGROUND = {"X-Localrun-Priority": "background"}


class ServerRevival:
    """Starts the server of the settings again after a connection was lost."""

    def __init__(self, settings: Settings, reload: Callable[[], object] = lambda: None) -> None:
        """``reload`` loads the model as the work wants it, if it is not loaded."""
        self._settings = settings
        self._reload = reload
        self._lock = threading.Lock()

    def revive(self) -> None:
        """Return when a server answers.

        Raises:
            LocalrunError: none does, and none can be started.
        """
        with self._lock:
            ensure_server(self._settings)
            self._reload()


class BatchSender:
    """A `localrun.batches.driver.Sender`."""

    def __init__(
        self, settings: Settings, revival: ServerRevival, *, is_background: bool = False
    ) -> None:
        self._settings = settings
        self._revival = revival
        self._is_closed = False
        key, host = settings.access.api_key, settings.address
        headers = {
            "Host": host if host.isascii() else host.encode("idna").decode(),
            "Content-Type": JSON,
            **({"Authorization": f"Bearer {key}"} if key else {}),
            **(BACKGROUND if is_background else {}),
        }
        self._connection = KeptConnection(self._open, headers)

    def send(self, path: str, body: bytes) -> Outcome:
        """Return the outcome of a request; blocks."""
        try:
            reply = self._connection.post(path, body)
        except (OSError, ProtocolError) as error:
            if not self._is_closed:
                self._revival.revive()
            return Outcome(code=SERVER_GONE, message=f"the connection was lost: {error}")
        request_id = reply.headers.get(REQUEST_ID, "")
        return Outcome(status=reply.status, body=reply.body, request_id=request_id)

    def close(self) -> None:
        """Close the connection; safe from any thread."""
        self._is_closed = True
        self._connection.close()

    def _open(self) -> socket.socket:
        connection = connect(self._settings, CONNECT_TIMEOUT_S)
        return with_tls(connection, self._settings)
