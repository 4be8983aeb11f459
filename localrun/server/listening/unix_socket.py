"""Unix socket of a server: a second listener for the commands of the same user.

Owns the socket file: made in a folder that only this user can enter, with mode 0600 under any
umask, and removed when the server stops to listen. A file that a dead server left is replaced; one
where a server listens is not. A server that cannot make the file serves its address alone.

Imported before anything else of the server: `unix_protocol` serves the connections.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from localrun.sockets import HTTP, is_private, open_socket, socket_folder, socket_path

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localrun.settings import Settings

BACKLOG = 2048
CONNECT_TIMEOUT_S = 1.0  # of the question whether a server listens
PRIVATE_FOLDER, PRIVATE_FILE = 0o700, 0o600
_log = logging.getLogger(__name__)


class UnixListener:
    """A listening socket and its file."""

    def __init__(self, path: Path, listener: socket.socket) -> None:
        self.socket = listener
        self._path = path
        self._file = path.lstat()

    def remove(self) -> None:
        """Remove the file, unless it is another server's by now."""
        with contextlib.suppress(OSError):
            if os.path.samestat(self._path.lstat(), self._file):
                self._path.unlink()

    def close(self) -> None:
        """Stop listening, and remove the file."""
        self.remove()
        self.socket.close()


@contextlib.contextmanager
def unix_listener(settings: Settings, address: socket.socket) -> Iterator[UnixListener | None]:
    """Listen on the Unix socket in the block, None if there is none; ``address`` is bound."""
    port = address.getsockname()[1]
    listener = bind_unix(replace(settings, port=port))
    try:
        yield listener
    finally:
        if listener is not None:
            listener.close()


def bind_unix(settings: Settings) -> UnixListener | None:
    """Return the listening Unix socket of a server that has bound its address.

    None if the server has no use for one (TLS, other machines), or if it cannot be made.
    """
    if settings.is_tls or not settings.is_loopback:
        return None
    name = socket_path(settings.address, HTTP)
    if name is None:
        return None
    path = Path(name)
    try:
        _make_private(Path(socket_folder()))
        _remove_stale(path)
        return UnixListener(path, _listen(path))
    except OSError as error:
        _log.info("no Unix socket at %s: %s", path, error.strerror or error)
        return None


def _make_private(folder: Path) -> None:
    """Create the folder of the sockets unless it exists.

    Raises:
        OSError: it cannot be created, or others than this user can enter it.
    """
    with contextlib.suppress(FileExistsError):
        folder.mkdir(PRIVATE_FOLDER)
        folder.chmod(PRIVATE_FOLDER)  # whatever the umask
    if not is_private(str(folder)):
        raise PermissionError(f"{folder} is not private")


def _remove_stale(path: Path) -> None:
    """Remove the socket of a server that has ended.

    Raises:
        OSError: a server listens there.
    """
    with contextlib.closing(open_socket()) as connection:
        connection.settimeout(CONNECT_TIMEOUT_S)
        try:
            connection.connect(str(path))
        except FileNotFoundError:
            return
        except ConnectionRefusedError:
            path.unlink()
            return
    raise FileExistsError("another server listens there")


def _listen(path: Path) -> socket.socket:
    listener = open_socket()
    try:
        listener.bind(str(path))  # in a folder that only this user can enter
        path.chmod(PRIVATE_FILE)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener
