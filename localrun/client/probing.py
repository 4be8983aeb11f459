"""One plain request to a server's address, as another program sends it: over TCP or TLS."""

from __future__ import annotations

import contextlib
import json
import socket
from typing import TYPE_CHECKING, Any

from localrun.client.connecting import CONNECT_TIMEOUT_S, with_tls
from localrun.client.failures import connection_error
from localrun.client.http import ProtocolError, ServerResponse, send_request

if TYPE_CHECKING:
    from collections.abc import Mapping

    from localrun.settings import Settings

ANSWER_TIMEOUT_S = 600.0  # the model may have to be loaded first


def ask_plainly(
    settings: Settings,
    method: str,
    path: str,
    body: Mapping[str, Any] | None,
    headers: Mapping[str, str],
) -> tuple[int, str]:
    """Return the status and the whole body of an answer; blocks until it has ended.

    Raises:
        NetworkError: nothing answers, or the answer ends early.
    """
    data = None if body is None else json.dumps(body).encode()
    is_connected = False
    with contextlib.ExitStack() as on_error:
        try:
            connection = socket.create_connection((settings.host, settings.port), CONNECT_TIMEOUT_S)
            on_error.callback(connection.close)
            connection = with_tls(connection, settings)
            is_connected = True
            connection.settimeout(ANSWER_TIMEOUT_S)
            content = {"Content-Type": "application/json"} if data is not None else {}
            host = {"Host": settings.address, "Connection": "close"}
            send_request(connection, method, path, {**host, **content, **headers}, data)
            with contextlib.closing(ServerResponse(connection)) as response:
                return response.status, response.read().decode("utf-8", "replace")
        except (OSError, UnicodeError, ProtocolError) as error:
            raise connection_error(settings, error, is_connected=is_connected) from error
