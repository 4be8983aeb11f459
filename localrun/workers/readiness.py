"""Readiness of a socket or a pipe to be read, with a limit; every platform has its own call."""

from __future__ import annotations

import select
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket


def can_read(source: socket.socket | int, timeout_s: float) -> bool:
    """Return whether a socket or a descriptor has data or has ended, within so many seconds.

    Raises:
        OSError: it is closed, or on Windows no socket.
    """
    if sys.platform == "win32":
        return bool(select.select([source], [], [], timeout_s)[0])
    else:  # noqa: RET505 - a branch for each platform; poll takes any number of open files
        ready = select.poll()
        ready.register(source, select.POLLIN)
        return bool(ready.poll(timeout_s * 1000))
