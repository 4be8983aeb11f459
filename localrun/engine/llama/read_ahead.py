"""Read-ahead of weights into the page cache while llama.cpp parses the vocabulary.

llama.cpp first parses metadata and vocabulary, for some 0.2 s, then reads the tensors from the
first byte to the last. The disk works in the meantime, and the tensors are found in memory.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from typing import TYPE_CHECKING

from localrun.system.files import read_soon

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

STEP_BYTES = 1 << 20  # of one call: Linux reads no more ahead than the disk takes at a time
MAX_BYTES = 2 << 30  # a start: llama.cpp reads everything behind it itself, as fast as the disk


def start_read_ahead(paths: Sequence[Path]) -> None:
    """Begin to read the files into the page cache, in a thread; do nothing where that is unknown.

    Pages that are in memory cost some microseconds a megabyte.
    """
    if sys.platform == "linux":
        threading.Thread(target=read_ahead, args=(paths,), name="read-ahead", daemon=True).start()


def read_ahead(paths: Sequence[Path], max_bytes: int = MAX_BYTES) -> int:
    """Return the number of bytes that were requested from the disk; stops at a file's error."""
    num_bytes = 0
    with contextlib.suppress(OSError):  # llama.cpp reports it
        for path in paths:
            num_bytes += _read_file_ahead(path, max_bytes - num_bytes)
    return num_bytes


def _read_file_ahead(path: Path, max_bytes: int) -> int:
    with path.open("rb", buffering=0) as file:
        end = min(os.fstat(file.fileno()).st_size, max_bytes)
        for start in range(0, end, STEP_BYTES):
            read_soon(file.fileno(), start, STEP_BYTES)
    return max(0, end)
