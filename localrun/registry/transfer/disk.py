"""The disk as downloads meet it: enough room beforehand, and its errors by name."""

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
KEPT_HINT = "localrun prune   frees what no model uses; the downloaded bytes are kept"
SPARE_BYTES = 32 << 20  # a disk is not filled to the last byte


def check_space(folder: Path, missing: int) -> None:
    """Refuse to begin what cannot end.

    Raises:
        StorageError: fewer bytes are free than are missing.
    """
    free = shutil.disk_usage(folder).free
    if missing + SPARE_BYTES > free:
        raise StorageError(
            f"{missing / 1e9:.2f} GB are missing and the disk of {folder} has {free / 1e9:.2f} GB",
            hint="localrun prune   frees what no model uses",
        )


@contextlib.contextmanager
def open_data(path: Path, size_bytes: int) -> Iterator[int]:
    """Open a file to be filled; what is beyond its size, which nobody verifies, is cut off."""
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
    """Wait until the bytes of a file are on the disk."""
    if hasattr(os, "fdatasync"):
        os.fdatasync(descriptor)
    else:  # macOS
        os.fsync(descriptor)


@cache
def start_writeback() -> Callable[[int], object] | None:
    """Return a function that lets the disk begin with what was written to a file.

    It promises nothing of the bytes, only that `sync_data` has less to wait for. None where
    the system has no such call: only Linux has (sync_file_range(2)), and not each libc.
    """
    if not sys.platform.startswith("linux"):
        return None
    try:
        begin = ctypes.CDLL(None).sync_file_range
    except (OSError, AttributeError):
        return None
    begin.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return lambda descriptor: begin(descriptor, 0, 0, SYNC_FILE_RANGE_WRITE)  # 0, 0: all of it
