"""Handover of links from the server to a runner: sockets beside the first bytes of its first frame.

Works over a Unix socket. Without links the bytes are the same.
"""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING

from localrun.workers.command import MAX_WORKERS

if TYPE_CHECKING:
    from collections.abc import Sequence

HEAD_BYTES = 4


def send_with_links(sock: socket.socket, frame: bytes, links: Sequence[socket.socket]) -> None:
    """Send a frame, and the sockets with it.

    Raises:
        OSError: the connection is closed.
    """
    if links and sys.platform != "win32":
        num_sent = socket.send_fds(sock, [frame], [link.fileno() for link in links])
        frame = frame[num_sent:]
    sock.sendall(frame)


def receive_links(sock: socket.socket) -> tuple[bytes, list[socket.socket]]:
    """Return the first bytes of the first frame, at most `HEAD_BYTES`, and the sockets; blocks."""
    if sys.platform != "win32" and sock.family == socket.AF_UNIX:
        head, numbers, _, _ = socket.recv_fds(sock, HEAD_BYTES, MAX_WORKERS)
        return head, [socket.socket(fileno=number) for number in numbers]
    else:  # noqa: RET505 - a branch for each platform
        return b"", []
