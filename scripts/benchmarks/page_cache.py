"""Page cache of the files of a benchmark: filled for warm figures, emptied for cold ones."""

from __future__ import annotations

import ctypes
import mmap
import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

MAX_SHARE = 0.01  # of a file that may stay in memory
PATIENCE_S, POLL_S = 10.0, 0.05  # a process that ends may have mapped the file


class PagesStayError(Exception):
    """The pages of a file stay in memory: it lies there, or another program has mapped it."""


def fill(files: Iterable[Path]) -> None:
    """Read the files, so that a load finds all of their pages in memory."""
    for path in files:
        path.read_bytes()


def drop(files: Iterable[Path]) -> None:
    """Remove the pages of the files from memory.

    Raises:
        PagesStayError: the pages of a file stay.
    """
    for path in files:
        until = time.monotonic() + PATIENCE_S
        while (share := _share_after_drop(path)) > MAX_SHARE:
            if time.monotonic() > until:
                raise PagesStayError(
                    f"{share:.0%} of {path} stays in memory: no cold load can be measured"
                )
            time.sleep(POLL_S)


def _share_after_drop(path: Path) -> float:
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return _share_in_memory(file.fileno(), path.stat().st_size)


def _share_in_memory(descriptor: int, size: int) -> float:
    """Return the fraction of a file that is in the page cache."""
    if size == 0:
        return 0.0
    with mmap.mmap(descriptor, size, mmap.MAP_PRIVATE) as mapped:
        start = ctypes.addressof(ctypes.c_char.from_buffer(mapped))
        pages = ctypes.create_string_buffer(-(-size // mmap.PAGESIZE))
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mincore(ctypes.c_void_p(start), ctypes.c_size_t(size), pages) != 0:
            raise PagesStayError(f"mincore: {os.strerror(ctypes.get_errno())}")
    return sum(page & 1 for page in pages.raw) / len(pages)
