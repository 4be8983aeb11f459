"""Writes to a disk that may be full: every byte or an error, and errors as `StorageError`.

Knows file objects and errors of the operating system, not what is written. Like write(2), a write
of Python's unbuffered files may accept only the first bytes without an error when the disk fills.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING, Protocol

from localrun.errors import StorageError
from localrun.system.processes import is_running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
TEMPORARY = ".tmp-"  # followed by the id of the writing process
MAX_DIGITS = 9  # of a process id
NO_ACCESS = {errno.EROFS, errno.EACCES, errno.EPERM}


class Writable(Protocol):
    """File that bytes are written to, buffered or not."""

    def write(self, content: memoryview, /) -> int | None:
        """Write some of the bytes, and return their number."""


def write_all(file: Writable, content: bytes | memoryview) -> None:
    """Write all bytes, however few the system accepts at a time.

    Raises:
        OSError: the system accepts no more bytes.
    """
    view = memoryview(content).cast("B")
    while view:
        written = file.write(view)
        if not written:
            raise OSError(errno.EIO, "the system wrote no bytes and reported no error")
        view = view[written:]


def temporary_beside(path: Path) -> Path:
    """Return the path that this process writes before it renames it to ``path``."""
    return path.with_name(f"{path.name}{TEMPORARY}{os.getpid()}")


def is_abandoned(temporary: Path) -> bool:
    """Return whether the process in the name of a temporary file has ended."""
    process_id = temporary.name.rpartition(TEMPORARY)[2]
    if not (process_id.isascii() and process_id.isdigit()) or len(process_id) > MAX_DIGITS:
        return False
    return not is_running(int(process_id))


def remove_abandoned(path: Path) -> None:
    """Delete the temporary files of ``path`` whose processes have ended."""
    for temporary in path.parent.glob(f"{path.name}{TEMPORARY}*"):
        if is_abandoned(temporary):
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def storage_errors(path: Path, *, hint: str | None = None) -> Iterator[None]:
    """Translate operating system errors in a block into a `StorageError` that names the path.

    ``hint`` replaces the hint of the error.
    """
    try:
        yield
    except OSError as error:
        translated = storage_error(error, path)
        if hint is not None:
            translated.hint = hint
        raise translated from error


def storage_error(error: OSError, path: Path) -> StorageError:
    """Return the `StorageError` for a failed write or read, with the remedy."""
    if error.errno in NO_SPACE:
        return StorageError(
            f"the disk of {path} is full",
            hint="localrun prune   deletes unused files; localrun du   shows what takes space",
        )
    if error.errno == errno.EFBIG:
        return StorageError(
            f"{path} is too large for its file system or the limit of this process",
            hint="ulimit -f   shows the limit; FAT32 allows no files over 4 GB",
        )
    if error.errno in NO_ACCESS:
        return StorageError(
            f"no access to {path}: {error.strerror}",
            hint="LOCALRUN_MODELS=/another/folder   moves the model store",
        )
    return StorageError(f"{path}: {error.strerror or error}")
