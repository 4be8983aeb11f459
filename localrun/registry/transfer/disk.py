"""Disk access of downloads: free space, the data file, and writeback."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import sys
from functools import cache
from typing import TYPE_CHECKING

from localrun.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MODE = 0o644
SYNC_FILE_RANGE_WRITE = 2
KEPT_HINT = "localrun prune   deletes unused files; the downloaded bytes are kept"
SPARE_BYTES = 32 << 20  # kept free on the disk


def check_space(folder: Path, missing: int) -> None:
    """Check that a download fits on the disk before it begins.

    Raises:
        StorageError: fewer bytes are free than the download still needs.
    """
    free = shutil.disk_usage(folder).free
    if missing + SPARE_BYTES > free:
        raise StorageError(
            f"the download needs {missing / 1e9:.2f} GB, the disk of {folder} has "
            f"{free / 1e9:.2f} GB free",
            hint="localrun prune   deletes unused files",
        )


@contextlib.contextmanager
def open_data(path: Path, size_bytes: int) -> Iterator[int]:
    """Open the data file for writing; cut off bytes beyond its size, which nothing verifies."""
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
    try:
        descriptor = os.open(path, flags, MODE)
    except PermissionError:  # killed after it became read-only, before it got its final name
        path.chmod(MODE)
        descriptor = os.open(path, flags, MODE)
    try:
        if os.fstat(descriptor).st_size > size_bytes:
            os.ftruncate(descriptor, size_bytes)
        yield descriptor
    finally:
        os.close(descriptor)


def sync_data(descriptor: int) -> None:
    """Wait until the bytes of a file are on the disk (fdatasync)."""
    if hasattr(os, "fdatasync"):
        os.fdatasync(descriptor)
    else:  # macOS
        os.fsync(descriptor)


@cache
def start_writeback() -> Callable[[int], object] | None:
    """Return a function that starts the writeback of a file, or None without such a call.

    Writeback promises nothing about the bytes; it only leaves less for `sync_data` to wait for.
    Only Linux has the call (sync_file_range(2)), and not every libc exports it.
    """
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    begin = getattr(library, "sync_file_range", None)
    if begin is None:
        return None
    begin.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return lambda descriptor: begin(descriptor, 0, 0, SYNC_FILE_RANGE_WRITE)  # 0, 0: all of it
