"""Far end of a worker: llama.cpp's RPC server, spoken over stdin and stdout.

    client -> worker   the line "status" for another hello; the line "start", then frames (`link`)
    worker -> client   a hello at once and after each "status", then frames

The process ends with its stdin, after `FAR_LIMIT_S` without a byte from the client, and with
llama.cpp's server. Nothing but the protocol goes to stdout, where llama.cpp prints, too.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.errors import BackendError
from localrun.workers.link import (
    CHUNK_BYTES,
    FAR_LIMIT_S,
    FAR_PULSE_S,
    FrameReader,
    data_head,
    pulse,
)
from localrun.workers.readiness import can_read

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.workers.hello import WorkerHello

LOOPBACK = "127.0.0.1"
STDIN, STDOUT = 0, 1
MAX_REQUEST_BYTES = 64
STATUS, START = b"status\n", b"start\n"
CONNECT_TIMEOUT_S = 10.0
HELLO_COMMAND = 14
HELLO_BYTES = 24


@dataclass(frozen=True, slots=True)
class Pipes:
    """The streams of the client, and llama.cpp's at the standard numbers."""

    input_fd: int
    output_fd: int


def take_streams() -> Pipes:
    """Return copies of stdin and stdout, which are empty for everybody else."""
    pipes = Pipes(os.dup(STDIN), os.dup(STDOUT))
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, STDIN)
    os.dup2(null, STDOUT)
    if sys.platform != "win32":
        for fd in (pipes.input_fd, pipes.output_fd):  # as whoever started this process left them
            os.set_blocking(fd, True)
    os.close(null)
    return pipes


class FarServer:
    """llama.cpp's server in a thread of this process, at a port of the loopback."""

    def __init__(self, serve: Callable[[str], None]) -> None:
        """``serve`` answers connections to an endpoint, and returns only if it cannot."""
        with socket.create_server((LOOPBACK, 0)) as probe:
            self._port = probe.getsockname()[1]
        self._thread = threading.Thread(
            target=serve, args=(f"{LOOPBACK}:{self._port}",), name="rpc-server", daemon=True
        )
        self._thread.start()

    def protocol(self) -> tuple[int, int]:
        """Return the major and minor version of the protocol, as the server states them.

        Raises:
            BackendError: it does not answer.
        """
        with self.connect() as connection:
            connection.settimeout(CONNECT_TIMEOUT_S)
            try:
                head = struct.pack("<BQ", HELLO_COMMAND, HELLO_BYTES)
                connection.sendall(head + bytes(HELLO_BYTES))
                answer = b""
                while len(answer) < 8 + 3 and (part := connection.recv(64)):
                    answer += part
            except OSError as error:
                raise BackendError(f"llama.cpp's server does not answer: {error}") from error
        if len(answer) < 8 + 3:
            raise BackendError("llama.cpp's server does not answer")
        return answer[8], answer[9]

    def connect(self) -> socket.socket:
        """Return a connection to the server, which answers one at a time.

        Raises:
            BackendError: the server does not listen.
        """
        deadline = time.monotonic() + CONNECT_TIMEOUT_S
        while self._thread.is_alive() and time.monotonic() < deadline:
            try:
                connection = socket.create_connection((LOOPBACK, self._port), CONNECT_TIMEOUT_S)
            except ConnectionRefusedError:
                time.sleep(0.005)  # it has no sign for being ready
                continue
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return connection
        raise BackendError("llama.cpp's server does not listen")


def answer_requests(pipes: Pipes, hello: Callable[[], WorkerHello]) -> bool:
    """Answer with hellos until the client starts; return whether it did."""
    write(pipes.output_fd, hello().line())
    request = b""
    while can_read(pipes.input_fd, FAR_LIMIT_S):
        letter = os.read(pipes.input_fd, 1)  # nothing of the frames may be read ahead
        request += letter
        if request == START:
            return True
        if request == STATUS:
            write(pipes.output_fd, hello().line())
            request = b""
        elif not letter or len(request) > MAX_REQUEST_BYTES:
            break
    return False


def relay(pipes: Pipes, connection: socket.socket) -> None:
    """Carry bytes between the client and the server until one of them ends; blocks."""
    connection.settimeout(None)
    ended = threading.Event()
    for target in (_from_client, _to_client):
        threading.Thread(target=target, args=(pipes, connection, ended), daemon=True).start()
    ended.wait()


def write(fd: int, data: bytes | memoryview) -> None:
    """Write everything; blocks."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _from_client(pipes: Pipes, connection: socket.socket, ended: threading.Event) -> None:
    reader = FrameReader()
    with contextlib.suppress(OSError, ValueError):
        while can_read(pipes.input_fd, FAR_LIMIT_S):
            chunk = os.read(pipes.input_fd, CHUNK_BYTES)
            if not chunk:
                break
            for part in reader.data(chunk):
                connection.sendall(part)
    ended.set()


def _to_client(pipes: Pipes, connection: socket.socket, ended: threading.Event) -> None:
    with contextlib.suppress(OSError):
        while True:
            if not can_read(connection, FAR_PULSE_S):
                write(pipes.output_fd, pulse(time.process_time()))
                continue
            data = connection.recv(CHUNK_BYTES)
            if not data:
                break
            write(pipes.output_fd, data_head(len(data)) + data)
    ended.set()
