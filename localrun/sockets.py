"""Unix sockets of a server: where they lie, and whether their folder can be trusted.

    $XDG_RUNTIME_DIR/localrun/127.0.0.1:11435.http      the HTTP API
    $XDG_RUNTIME_DIR/localrun/127.0.0.1:11435.warm      the warm process of `localrun.warm`

Without ``XDG_RUNTIME_DIR`` the folder is ``/tmp/localrun-UID``. The name is the address of the
server, so that a client which knows the address finds both. Imported by each command before
anything else: only modules that Python has loaded already.
"""

from __future__ import annotations

import os
import stat
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    import socket

HTTP, WARM = "http", "warm"
DEFAULT_ADDRESS = "127.0.0.1:11435"
_PEER_BYTES = 12  # process, user, group
MAX_PATH = 100  # bytes; the system's limit is 108 on Linux, 104 on macOS


def has_tcp_only() -> bool:
    """Return whether the processes of this program have no sockets but those of TCP.

    So it is on Windows; with ``LOCALRUN_TRANSPORT=tcp`` everywhere.
    """
    return sys.platform == "win32" or os.environ.get("LOCALRUN_TRANSPORT") == "tcp"


def socket_path(address: str, kind: str) -> str | None:
    """Return the path of a socket of the server at ``address``, None if it can have none.

    The path may be too long.
    """
    if has_tcp_only():
        return None
    path = f"{socket_folder()}/{address}.{kind}"
    return path if len(os.fsencode(path)) <= MAX_PATH and "/" not in address else None


def socket_folder() -> str:
    """Return the folder of this user's sockets, which may not exist."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    folder = f"{runtime}/localrun"
    if sys.platform != "win32" and not runtime.startswith("/"):
        folder = f"/tmp/localrun-{os.getuid()}"  # noqa: S108 - checked by `is_private`
    return folder


def open_socket() -> socket.socket:
    """Return a Unix socket; it is called only where `socket_path` has a path.

    Raises:
        OSError: too many files are open, or the system has no Unix sockets.
    """
    import errno
    import socket

    if sys.platform == "win32":
        raise OSError(errno.EAFNOSUPPORT, "this system has no Unix sockets")
    else:  # noqa: RET506 - for mypy
        return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)


def peer_of(connection: _socket.socket) -> tuple[int, int]:
    """Return the process id and the user id of the other end of a connection; on Linux.

    Raises:
        OSError: the connection is closed.
    """
    import _socket

    process = user = -1
    if sys.platform == "linux":
        peer = connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, _PEER_BYTES)
        process, user = (int.from_bytes(peer[at : at + 4], sys.byteorder) for at in (0, 4))
    return process, user


def is_private(folder: str) -> bool:
    """Return whether a folder exists, belongs to this user, and is closed to all others."""
    try:
        status = os.lstat(folder)
    except OSError:
        return False
    is_closed = stat.S_ISDIR(status.st_mode) and not status.st_mode & 0o077
    return sys.platform != "win32" and is_closed and status.st_uid == os.geteuid()
