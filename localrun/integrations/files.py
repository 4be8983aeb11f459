"""Configuration files on disk: read with bounds, replaced whole or not at all.

A link stays a link: its target is replaced. Permissions, the mark of UTF-8 and the owner stay. A
new file is readable by its owner alone. Invariant: a file is replaced only if
it still has the content that was edited.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.disk import remove_abandoned, storage_error, temporary_beside, write_all
from localrun.errors import StorageError, UsageError
from localrun.system.files import replace_file, sync_folder

if TYPE_CHECKING:
    from pathlib import Path

BOM = b"\xef\xbb\xbf"
READ_FLAGS = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)  # a FIFO does not block
WRITE_FLAGS = getattr(os, "O_BINARY", 0)
PRIVATE_FILE = 0o600


@dataclass(frozen=True, slots=True, kw_only=True)
class FileContent:
    """Content of a file; ``data`` is None if the file does not exist."""

    path: Path  # where it is, behind all links
    data: bytes | None
    mode: int | None = None

    @property
    def digest(self) -> str | None:
        """Return the SHA-256 of the content, None without a file."""
        return None if self.data is None else digest_of(self.data)

    @property
    def text(self) -> str:
        """Return the text without the mark of UTF-8, "" without a file.

        Raises:
            UsageError: it is not UTF-8.
        """
        try:
            return (self.data or b"").removeprefix(BOM).decode("utf-8")
        except UnicodeDecodeError as error:
            raise UsageError(f"{self.path} is not UTF-8") from error

    def encoded(self, text: str) -> bytes:
        """Return a text as bytes, with the mark of UTF-8 if the file has it."""
        has_mark = self.data is not None and self.data.startswith(BOM)
        return (BOM if has_mark else b"") + text.encode("utf-8")


def digest_of(data: bytes) -> str:
    """Return the SHA-256 of bytes."""
    return hashlib.sha256(data).hexdigest()


def read_content(path: Path, most_bytes: int) -> FileContent:
    """Return the content of a file that may not exist.

    Raises:
        UsageError: not a regular file, or too large.
        StorageError: it cannot be read.
    """
    target = _target(path)
    try:
        descriptor = os.open(target, os.O_RDONLY | READ_FLAGS)
    except FileNotFoundError:
        return FileContent(path=target, data=None)
    except OSError as error:
        raise _file_error(error, target) from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise UsageError(f"{target} is not a file")
        data = _read_up_to(descriptor, most_bytes + 1)
    except OSError as error:
        raise _file_error(error, target) from error
    finally:
        os.close(descriptor)
    if len(data) > most_bytes:
        raise UsageError(
            f"{target} has more than {most_bytes} bytes", hint="add the printed settings by hand"
        )
    return FileContent(path=target, data=data, mode=stat.S_IMODE(status.st_mode))


def replace_content(before: FileContent, data: bytes) -> None:
    """Replace a file, or create it with its folders.

    Raises:
        UsageError: the file was changed since it was read.
        StorageError: it cannot be written; the old content is still there.
    """
    target = before.path
    temporary = temporary_beside(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_abandoned(target)
        _write(temporary, data, before)
        _check_unchanged(before)
        replace_file(temporary, target)
    except OSError as error:
        raise _file_error(error, target) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        sync_folder(target.parent)


def remove_content(before: FileContent) -> None:
    """Remove a file that still has its content.

    Raises:
        UsageError: the file was changed since it was read.
        StorageError: it cannot be removed.
    """
    _check_unchanged(before)
    try:
        before.path.unlink()
    except OSError as error:
        raise _file_error(error, before.path) from error


def _read_up_to(descriptor: int, most_bytes: int) -> bytes:
    data = bytearray()
    while len(data) < most_bytes and (piece := os.read(descriptor, most_bytes - len(data))):
        data += piece
    return bytes(data)


def _target(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError) as error:  # a circle of links
        raise StorageError(f"{path} is a link that leads nowhere") from error


def _write(temporary: Path, data: bytes, before: FileContent) -> None:
    descriptor = os.open(
        temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | WRITE_FLAGS, PRIVATE_FILE
    )
    with os.fdopen(descriptor, "wb", buffering=0) as file:
        write_all(file, data)
        if sys.platform != "win32":
            _keep_owner(file.fileno(), before)
            os.fchmod(file.fileno(), PRIVATE_FILE if before.mode is None else before.mode)
        os.fsync(file.fileno())


def _keep_owner(descriptor: int, before: FileContent) -> None:
    if sys.platform != "win32" and before.data is not None:
        with contextlib.suppress(OSError):  # only root may give files away
            status = before.path.stat()
            if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(descriptor, status.st_uid, status.st_gid)


def _check_unchanged(before: FileContent) -> None:
    now = read_content(before.path, max(len(before.data or b""), 1) + 1)
    if now.data != before.data:
        raise UsageError(
            f"{before.path} was changed meanwhile, and is left as it is",
            hint="run the command again",
        )


def _file_error(error: OSError, path: Path) -> StorageError:
    translated = storage_error(error, path)
    translated.hint = (
        None if translated.hint and "LOCALRUN_MODELS" in translated.hint else (translated.hint)
    )
    return translated
