"""Connections to the server of the settings: its Unix socket if it has one, else TCP or TLS.

A Unix socket proves whose server listens: its name is the address, only this user can create files
in its folder, and on Linux the system names the process, which must belong to this user and to the
same network. In every doubt the address itself is connected.
"""

from __future__ import annotations

import os
import socket
import sys
from typing import TYPE_CHECKING

from localrun.errors import StorageError
from localrun.sockets import HTTP, is_private, open_socket, peer_of, socket_folder, socket_path

if TYPE_CHECKING:
    from localrun.settings import Settings

CONNECT_TIMEOUT_S = 5.0


def connect(settings: Settings, timeout_s: float) -> socket.socket:
    """Return a connection to the server: to its Unix socket, else to its address.

    Raises:
        OSError: nothing listens, or the host is out of reach.
        UnicodeError: the host is not a name.
    """
    local = connect_local(settings, timeout_s)
    return local or socket.create_connection((settings.host, settings.port), timeout_s)


def connect_local(settings: Settings, timeout_s: float) -> socket.socket | None:
    """Return a connection to the server's Unix socket, None if it has none that can be trusted."""
    if settings.is_tls or not settings.is_loopback:
        return None
    path = socket_path(settings.address, HTTP)
    if path is None or not is_private(socket_folder()):
        return None
    connection = open_socket()
    try:
        connection.settimeout(timeout_s)
        connection.connect(path)
        is_trusted = is_same_machine(connection)
    except OSError:
        is_trusted = False
    if is_trusted:
        return connection
    connection.close()
    return None


def server_process(settings: Settings) -> int | None:
    """Return the id of the server's process by its Unix socket, None if it cannot be known."""
    connection = connect_local(settings, CONNECT_TIMEOUT_S)
    if connection is None:
        return None
    with connection:
        try:
            return peer_of(connection)[0] if sys.platform == "linux" else None
        except OSError:  # it has just ended
            return None


def with_tls(connection: socket.socket, settings: Settings) -> socket.socket:
    """Return the connection with TLS, if the settings say https; blocks for the handshake.

    Raises:
        OSError: the certificate is not trusted, or the other side does not speak TLS.
        StorageError: the trusted certificate cannot be read.
    """
    if not settings.is_tls:
        return connection
    import ssl  # lazy: takes longer than a request

    context = ssl.create_default_context()
    trusted = settings.access.tls_cert
    if trusted is not None:
        try:
            context.load_verify_locations(trusted)
        except (OSError, ssl.SSLError) as error:
            raise StorageError(f"{trusted} cannot be read as a certificate: {error}") from error
    return context.wrap_socket(connection, server_hostname=settings.host)


def is_same_machine(connection: socket.socket) -> bool:
    """Return whether the listening process is this user's and has the same network addresses.

    A container may share the folder of the sockets and have an address of the same name.
    """
    is_same = True  # elsewhere, the folder ensures it
    if sys.platform == "linux":
        try:
            process, user = peer_of(connection)
            own, other = (os.stat(f"/proc/{each}/ns/net") for each in ("self", process))  # noqa: PTH116 - pathlib takes longer
        except OSError:  # of another user, or of a container
            return False
        is_same = user == os.geteuid() and os.path.samestat(own, other)
    return is_same
