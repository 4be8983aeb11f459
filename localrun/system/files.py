"""File access that differs between systems: positions, durable names, permissions.

Unix      pread and pwrite; a folder is synced for its names; modes; an open file can be
          replaced and deleted
Windows   a file has one position; names are durable by themselves; access lists of the user's
          folders in place of modes; a file that is open or read-only cannot be replaced or
          deleted, so nothing is made read-only, and a replacement waits a little
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
import sys
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NO_FOLDER_SYNC = {errno.EINVAL, errno.EOPNOTSUPP}  # some network file systems
TO_SYNC = os.O_RDWR if sys.platform == "win32" else os.O_RDONLY  # flags to open a file with
FICLONE = 0x40049409  # of linux/fs.h
FICLONERANGE = 0x4020940D
SHARED_BLOCK_BYTES = 4096
COPIED_BYTES = 4 * 1024 * 1024
BLOCK_BYTES = 512  # of st_blocks
REPLACE_TRIES, REPLACE_WAIT_S = 40, 0.05  # while other processes read the file

_POSITION = threading.Lock()  # guards the position of open files on Windows


def read_at(descriptor: int, buffer: memoryview, offset: int) -> int:
    """Read into a buffer from an offset; return the number of bytes, 0 at the end."""
    if sys.platform == "win32":
        with _POSITION:
            os.lseek(descriptor, offset, os.SEEK_SET)
            content = os.read(descriptor, len(buffer))
        buffer[: len(content)] = content
        return len(content)
    else:
        return os.preadv(descriptor, [buffer], offset)


def write_at(descriptor: int, content: memoryview, offset: int) -> int:
    """Write bytes at an offset; return how many were written."""
    if sys.platform == "win32":
        with _POSITION:
            os.lseek(descriptor, offset, os.SEEK_SET)
            return os.write(descriptor, content)
    else:
        return os.pwrite(descriptor, content, offset)


def replace_file(source: Path, target: Path) -> None:
    """Rename a file over another, if that exists.

    Raises:
        OSError: the folder cannot be written; on Windows, others still have the file open.
    """
    if sys.platform == "win32":
        for _ in range(REPLACE_TRIES):
            with contextlib.suppress(PermissionError):
                source.replace(target)
                return
            time.sleep(REPLACE_WAIT_S)
    source.replace(target)


def sync_file(path: Path) -> None:
    """Wait until the bytes of a file are on the disk."""
    _sync(path, TO_SYNC)


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, so that they survive a power loss."""
    if sys.platform != "win32":
        try:
            _sync(folder, os.O_RDONLY)
        except OSError as error:
            if error.errno not in NO_FOLDER_SYNC:
                raise


def read_soon(descriptor: int, offset: int, size_bytes: int) -> None:
    """Ask Linux to read a part of a file into the page cache in the background."""
    if sys.platform == "linux":
        os.posix_fadvise(descriptor, offset, size_bytes, os.POSIX_FADV_WILLNEED)


def is_in_memory(descriptor: int, offset: int) -> bool:
    """Return whether a byte of a file is in the page cache; false if the system cannot tell."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.preadv(descriptor, [bytearray(1)], offset, os.RWF_NOWAIT)
            return True
    return False


def share_blocks(source: int, target: int) -> bool:
    """Let an empty open file share the blocks of another; return whether the file system can.

    Later changes of one file do not affect the other. Only Linux is asked.
    """
    if sys.platform != "win32":
        import fcntl

        with contextlib.suppress(OSError):
            fcntl.ioctl(target, FICLONE, source)
            return True
    return False


def copy_range(
    source: int, source_start: int, target: int, target_start: int, num_bytes: int
) -> Iterator[int]:
    """Copy bytes between open files, and yield the number of each piece.

    On Linux whole blocks are shared if the file systems can and both places are alike within one.

    Raises:
        OSError: the source ends before, or the target takes no more.
    """
    done = 0
    if (source_start - target_start) % SHARED_BLOCK_BYTES == 0:
        head = -source_start % SHARED_BLOCK_BYTES
        whole = (num_bytes - head) // SHARED_BLOCK_BYTES * SHARED_BLOCK_BYTES
        if whole > 0 and _share_range(
            source, source_start + head, target, target_start + head, whole
        ):
            yield whole
            yield from _copied(source, source_start, target, target_start, head)
            done = head + whole
    yield from _copied(source, source_start + done, target, target_start + done, num_bytes - done)


def can_share(source: Path, scratch: Path) -> bool:
    """Return whether a file in the folder of ``scratch`` can share blocks with a file.

    ``scratch`` is made and deleted. Only Linux can tell; elsewhere the result is False.
    """
    try:
        with source.open("rb") as reader, scratch.open("wb") as writer:
            return _share_range(reader.fileno(), 0, writer.fileno(), 0, SHARED_BLOCK_BYTES)
    except OSError:
        return False
    finally:
        scratch.unlink(missing_ok=True)


def _share_range(source: int, start: int, target: int, target_start: int, num_bytes: int) -> bool:
    if sys.platform == "linux":
        import fcntl

        request = struct.pack("=qQQQ", source, start, num_bytes, target_start)
        with contextlib.suppress(OSError):
            fcntl.ioctl(target, FICLONERANGE, request)
            return True
    return False


def _copied(
    source: int, start: int, target: int, target_start: int, num_bytes: int
) -> Iterator[int]:
    buffer = memoryview(bytearray(min(num_bytes, COPIED_BYTES)))
    done = 0
    while done < num_bytes:
        count = read_at(source, buffer[: num_bytes - done], start + done)
        if not count:
            raise OSError(errno.EIO, "the file became shorter while it was copied")
        written = 0
        while written < count:
            written += write_at(target, buffer[written:count], target_start + done + written)
        done += count
        yield count


def set_mode(descriptor: int, mode: int) -> None:
    """Set the mode of an open file."""
    if sys.platform != "win32":
        os.fchmod(descriptor, mode)


def bytes_on_disk(status: os.stat_result) -> int:
    """Return the bytes that a file takes; holes take none, if the system says so."""
    if sys.platform == "win32":
        return status.st_size
    else:
        return status.st_blocks * BLOCK_BYTES


def is_own(status: os.stat_result) -> bool:
    """Return whether a file belongs to this user; always on Windows."""
    if sys.platform == "win32":
        return True
    else:
        return status.st_uid == os.geteuid()


def grants(status: os.stat_result, bits: int) -> bool:
    """Return whether the mode of a file has one of the bits; never on Windows."""
    return False if sys.platform == "win32" else bool(status.st_mode & bits)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
