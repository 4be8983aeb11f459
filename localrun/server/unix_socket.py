"""Unix socket of a server: a second listener for the commands of the same user.

Owns the socket file: made in a folder that only this user can enter, with mode 0600 under any
umask, and removed when the server stops to listen. A file that a dead server left is replaced; one
where a server listens is not. A server that cannot make the file serves its address alone.

To the application, a client of the Unix socket is a client on this machine (`LOCAL_CLIENT`): hosts,
origins and API keys are checked as for any other. A process of another user is hung up on. Each
response has the version of the server, so that a command needs no request of its own for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import struct
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from localrun import __version__
from localrun.server.middleware.timeouts import TimeoutProtocol
from localrun.sockets import HTTP, is_private, socket_folder, socket_path

if TYPE_CHECKING:
    from collections.abc import Iterator

    import uvicorn
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from localrun.settings import Settings

BACKLOG = 2048
CONNECT_TIMEOUT_S = 1.0  # of the question whether a server listens
PRIVATE_FOLDER, PRIVATE_FILE = 0o700, 0o600
CREDENTIALS = struct.Struct("3i")  # process, user, group
LOCAL_CLIENT = ("127.0.0.1", 0)
VERSION = (b"x-localrun-version", __version__.encode())
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
    if settings.is_tls or not settings.is_loopback or not hasattr(socket, "AF_UNIX"):
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


async def serve_unix(
    server: uvicorn.Server, listener: UnixListener, shutdown: asyncio.Event
) -> None:
    """Accept connections of the Unix socket until the server shuts down.

    Ends before the address is free, so that the next server finds the place free.
    """
    protocol = partial(
        UnixProtocol, config=server.config, server_state=server.server_state, app_state={}
    )
    loop = asyncio.get_running_loop()
    acceptor = await loop.create_unix_server(protocol, sock=listener.socket, backlog=BACKLOG)
    await shutdown.wait()
    listener.remove()
    acceptor.close()


class UnixProtocol(TimeoutProtocol):
    """A connection of this user."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn
        """Take the connection of a process of this user, and close any other."""
        super().connection_made(transport)
        self.client = LOCAL_CLIENT
        self.app = _with_version(self.app)
        if not _is_own(transport):
            transport.abort()


def _is_own(transport: asyncio.Transport) -> bool:
    """Return whether the process at the other end belongs to this user.

    Elsewhere than on Linux, the folder alone ensures it.
    """
    if sys.platform != "linux":
        return True
    connection = transport.get_extra_info("socket")
    try:
        peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    except OSError:
        return False
    return bool(CREDENTIALS.unpack(peer)[1] == os.geteuid())


def _with_version(app: ASGIApp) -> ASGIApp:
    """Return the application with the version of the server in each response."""

    async def versioned(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_versioned(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), VERSION]}
            await send(message)

        await app(scope, receive, send_versioned)

    return versioned


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
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as connection:
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
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))  # in a folder that only this user can enter
        path.chmod(PRIVATE_FILE)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener
