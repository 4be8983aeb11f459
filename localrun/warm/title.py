"""Name of a forked process, as `ps` and `pgrep` show it.

Linux shows the memory in which a process was given its arguments. A fork has those of the server;
they are overwritten, as far as there is room.
"""

from __future__ import annotations

import sys

assert sys.platform == "linux"  # elsewhere, mypy reads no further

import ctypes
from pathlib import Path

COMM_BYTES = 15
ARG_START = 45  # of the numbers after the name in /proc/PID/stat; the end follows


def set_title(words: list[str]) -> None:
    """Show this process as a command with ``words``, if the system allows it."""
    try:
        numbers = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
        start, end = int(numbers[ARG_START]), int(numbers[ARG_START + 1])
        Path("/proc/self/comm").write_text("-".join(words[:2])[:COMM_BYTES])
    except (OSError, ValueError, IndexError):
        return
    room = end - start
    if start and room > 1:
        title = b"".join(word.encode(errors="replace") + b"\0" for word in words)
        ctypes.memmove(start, title[: room - 1].ljust(room, b"\0"), room)
