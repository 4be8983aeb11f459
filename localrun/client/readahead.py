"""Reading of a model's files into the page cache, while the server that loads them still starts.

Only Linux is asked to read ahead. It reads in the background, and drops the pages if programs need
the memory; files that do not fit into the free memory are left alone.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from localrun.system.files import is_in_memory, read_soon

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PART_BYTES = 16 * 1024 * 1024
MEMINFO = Path("/proc/meminfo")
AVAILABLE = b"MemAvailable:"


def begin_reading(files: Sequence[Path]) -> threading.Thread | None:
    """Read files into the page cache in a thread; return None if there is nothing to read."""
    is_known = sys.platform == "linux"
    try:
        size_bytes = sum(file.stat().st_size for file in files if is_known)
    except OSError:  # the load reports it
        return None
    if not 0 < size_bytes <= _available_bytes():
        return None
    thread = threading.Thread(target=_read, args=(files,), name="read-ahead", daemon=True)
    thread.start()
    return thread


def _read(files: Sequence[Path]) -> None:
    for file in files:
        with contextlib.suppress(OSError), file.open("rb", buffering=0) as opened:
            for start in _missing_parts(opened.fileno()):
                read_soon(opened.fileno(), start, PART_BYTES)


def _missing_parts(fd: int) -> Iterator[int]:
    """Yield the offsets of the parts of a file whose first byte is not in the page cache."""
    for start in range(0, os.fstat(fd).st_size, PART_BYTES):
        if not is_in_memory(fd, start):
            yield start


def _available_bytes() -> int:
    try:
        with MEMINFO.open("rb") as lines:
            (line,) = (line for line in lines if line.startswith(AVAILABLE))
    except (OSError, ValueError):
        return 0
    return int(line.split()[1]) * 1024
