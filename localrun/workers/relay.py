"""Runner's end of a link: a port of the loopback where llama.cpp meets a worker.

    llama.cpp  <-- TCP on 127.0.0.1 -->  WorkerRelay  <-- link -->  command  ...  localrun worker

The port accepts one connection of this very process, and is closed then. Whatever ends the link
while llama.cpp needs it is reported before llama.cpp hears of it, because llama.cpp would abort.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from localrun.workers.link import (
    CHUNK_BYTES,
    LIMIT_S,
    NEAR_PULSE_S,
    FrameReader,
    data_head,
    pulse,
)
from localrun.workers.readiness import can_read

if TYPE_CHECKING:
    from collections.abc import Callable

LOOPBACK = "127.0.0.1"
ADDRESS_COLUMN, INODE_COLUMN = 1, 9  # of /proc/net/tcp


class WorkerRelay:
    """Carries llama.cpp's bytes to one worker and back, in two threads."""

    def __init__(
        self, link: socket.socket, on_lost: Callable[[str], None], limit_s: float = LIMIT_S
    ) -> None:
        """``on_lost`` is called with the reason when the link ends before `close`."""
        self._link = link
        self._limit_s = limit_s  # of silence
        self._on_lost = on_lost
        self._is_closed = False
        self._listener = socket.create_server((LOOPBACK, 0))
        self._connected = threading.Event()
        self._connection: socket.socket | None = None
        self.endpoint = f"{LOOPBACK}:{self._listener.getsockname()[1]}"
        self.cpu_s = 0.0  # of the worker's processors, as it last stated
        for target in (self._to_worker, self._from_worker):
            threading.Thread(target=target, name="worker-relay", daemon=True).start()

    def close(self) -> None:
        """Expect the end of the link: llama.cpp needs it no more."""
        self._is_closed = True
        with contextlib.suppress(OSError):
            self._link.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        if self._connection is not None:
            self._connection.close()

    def _to_worker(self) -> None:
        try:
            connection = self._accept()
            while True:
                if not can_read(connection, NEAR_PULSE_S):
                    self._link.sendall(pulse(time.process_time()))
                    continue
                data = connection.recv(CHUNK_BYTES)
                if not data:
                    break
                self._link.sendall(data_head(len(data)) + data)
        except (OSError, ValueError):  # the reader reports it; llama.cpp's end is open until then
            return
        self.close()  # llama.cpp is done

    def _from_worker(self) -> None:
        reason = "it ended"
        try:
            reader = FrameReader(self._take_pulse)
            while True:
                if not can_read(self._link, self._limit_s):
                    reason = f"it gave no sign of life for {self._limit_s:.0f} s"
                    break
                chunk = self._link.recv(CHUNK_BYTES)
                if not chunk:
                    break
                for part in reader.data(chunk):
                    self._send(part)
        except OSError as error:
            reason = f"the connection broke: {error.strerror}"
        except ValueError as error:
            reason = f"it sent something else than llama.cpp's protocol: {error}"
        if not self._is_closed:
            self._on_lost(reason)
        self.close()
        self._link.close()

    def _send(self, part: memoryview) -> None:
        self._connected.wait()
        if self._connection is not None:
            self._connection.sendall(part)

    def _take_pulse(self, cpu_s: float) -> None:
        self.cpu_s = cpu_s

    def _accept(self) -> socket.socket:
        """Return the connection of this process, and close the port."""
        while True:
            if not can_read(self._listener, NEAR_PULSE_S):
                self._link.sendall(pulse(time.process_time()))
                continue
            connection, address = self._listener.accept()
            if is_own(address[1]):
                break
            connection.close()
        self._listener.close()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection = connection
        self._connected.set()
        return connection


def is_own(port: int) -> bool:
    """Return whether this process has the socket at a port of the loopback, as far as is known.

    Another user's program may connect first; only Linux tells whose a connection is.
    """
    return _has_socket(port) if sys.platform == "linux" else True


def _has_socket(port: int) -> bool:
    try:
        rows = Path("/proc/self/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    except OSError:
        return True
    address = f":{port:04X}"
    inodes = {
        columns[INODE_COLUMN]
        for columns in map(str.split, rows)
        if columns[ADDRESS_COLUMN].endswith(address)
    }
    own = {_target(entry) for entry in Path("/proc/self/fd").iterdir()}
    return any(f"socket:[{inode}]" in own for inode in inodes)


def _target(entry: Path) -> str:
    try:
        return str(entry.readlink())
    except OSError:  # closed meanwhile, such as the folder's own
        return ""
