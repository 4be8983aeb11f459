"""Sending side of a runner's socket. Invariant: a frame is sent whole or not at all."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from localrun.runner.frames import encode
from localrun.runner.messages import LoadProgress

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from localrun.runner.messages import Event

PROGRESS_STEP = 0.05
_log = logging.getLogger(__name__)


class Channel:
    """The sending side of the socket; safe from any thread."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._lock = threading.Lock()  # guards the socket: one frame at a time

    def send(self, event: Event) -> None:
        """Send one frame. A closed socket is ignored: the reader thread ends the process.

        Raises:
            FrameTooLargeError: nothing was sent.
        """
        frame = encode(event, unicode_errors="replace")  # before the lock: it may be large
        try:
            with self._lock:
                self._sock.sendall(frame)
        except OSError:
            _log.debug("the parent does not listen any more")


def throttled(channel: Channel) -> Callable[[float], None]:
    """Return a callback that sends progress in steps of `PROGRESS_STEP`."""
    sent = 0.0

    def report(fraction: float) -> None:
        nonlocal sent
        if fraction - sent >= PROGRESS_STEP:
            sent = fraction
            channel.send(LoadProgress(fraction=fraction))

    return report
