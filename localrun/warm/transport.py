"""Connection between the server and a runner: a socket pair, or TCP on the loopback.

    pair   the runner inherits one end; Linux and macOS
    tcp    the runner connects to a port of 127.0.0.1; Windows, or ``LOCALRUN_TRANSPORT=tcp``

Any program of the machine can connect to a port, so the two ends prove who they are. The server
writes an `Invitation` to the runner's stdin: the port and two secrets of this one connection. The
runner sends the first, and the server answers with the second. The first connection with the
right secret wins, and the port is closed; secrets are compared in constant time, and are in no
command line and no environment. The runner's stdin stays open as long as the server lives.
"""

from __future__ import annotations

import contextlib
import errno
import hmac
import os
import selectors
import socket
import threading
from dataclasses import dataclass
from typing import Self

from localrun.errors import BackendError

LOOPBACK = "127.0.0.1"
SECRET_BYTES = 32
ANSWER_TIMEOUT_S = 10.0
MAX_LINE_BYTES = 256
STDIN = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """What a runner needs to connect: ``PORT SECRET ANSWER``, in hex, on one line of its stdin."""

    port: int
    secret: bytes
    answer: bytes

    def line(self) -> bytes:
        """Return the line of a runner's stdin."""
        return f"{self.port} {self.secret.hex()} {self.answer.hex()}\n".encode()

    @classmethod
    def parse(cls, line: bytes) -> Self:
        """Return the invitation of a line.

        Raises:
            BackendError: it is none.
        """
        try:
            port, secret, answer = line.split()
            return cls(
                port=int(port),
                secret=bytes.fromhex(secret.decode("ascii")),
                answer=bytes.fromhex(answer.decode("ascii")),
            )
        except ValueError as error:
            raise BackendError(
                "a runner needs its server's invitation on stdin",
                hint="localrun run NAME   starts a runner itself",
            ) from error


def open_connection(fd: int | None) -> socket.socket:
    """Return a runner's connection to its server: the inherited ``fd``, else by invitation.

    A runner that was invited exits when its stdin ends.

    Raises:
        BackendError: there is no invitation on stdin, or the server does not answer.
    """
    if fd is not None:
        return socket.socket(fileno=fd)
    invitation = Invitation.parse(_read_line())
    threading.Thread(target=_exit_with_server, name="lifeline", daemon=True).start()
    return connect(invitation)


def connect(invitation: Invitation) -> socket.socket:
    """Return a runner's connection to the server that has invited it.

    Raises:
        BackendError: the server does not answer, or another program does.
    """
    try:
        connection = socket.create_connection((LOOPBACK, invitation.port), ANSWER_TIMEOUT_S)
    except OSError as error:
        raise BackendError(f"the server cannot be reached: {error.strerror or error}") from error
    try:
        connection.sendall(invitation.secret)
        answer = b""
        while len(answer) < SECRET_BYTES and (part := connection.recv(SECRET_BYTES - len(answer))):
            answer += part
    except OSError as error:
        connection.close()
        raise BackendError(f"the server does not answer: {error.strerror or error}") from error
    if not hmac.compare_digest(answer, invitation.answer):
        connection.close()
        raise BackendError("another program than the server listens on its port")
    return ready(connection)


def send_at_once(connection: socket.socket, frame: bytes) -> None:
    """Send a small frame if the other end reads, else nothing of it; does not block.

    Raises:
        OSError: the connection is closed.
    """
    with selectors.DefaultSelector() as selector:
        try:
            selector.register(connection, selectors.EVENT_WRITE)
        except ValueError as error:  # another thread has closed it: it has no descriptor
            raise OSError(errno.EBADF, "the connection is closed") from error
        if selector.select(0):
            connection.sendall(frame)  # the system has buffers of kilobytes


def ready(connection: socket.socket) -> socket.socket:
    """Return a connection that blocks, and sends each frame as soon as it is written."""
    connection.settimeout(None)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _read_line() -> bytes:
    """Return the first line of stdin, of which nothing is read ahead."""
    line = b""
    while not line.endswith(b"\n") and len(line) < MAX_LINE_BYTES:
        try:
            letter = os.read(STDIN, 1)
        except OSError:  # it is closed
            break
        if not letter:
            break
        line += letter
    return line


def _exit_with_server() -> None:
    with contextlib.suppress(OSError):
        while os.read(STDIN, MAX_LINE_BYTES):
            pass
    os._exit(BackendError.exit_code)
