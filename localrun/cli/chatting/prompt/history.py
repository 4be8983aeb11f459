r"""History file of a user's messages, shared by all chats: one JSON string a line, oldest first.

    "What can you do?"
    "first line\nsecond line"

A message is appended by one write under a lock, so chats that run at once lose nothing of each
other. A damaged line is skipped. When the file exceeds `MAX_FILE_BYTES`, its newer half stays. The
file is private (0600). A message that begins with a space is not kept, nor one above
`MAX_ENTRY_BYTES`. A history that cannot be read or written never stops the chat.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from typing import TYPE_CHECKING

from localrun.private import make_private_folder, open_private
from localrun.system.files import replace_file
from localrun.system.locks import lock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

MAX_FILE_BYTES = 1 << 20
MAX_ENTRY_BYTES = 64 << 10
MAX_ENTRIES = 2000  # that are read
_log = logging.getLogger(__name__)


def read_history(path: Path) -> list[str]:
    """Return the newest messages of the file, oldest first; empty if it cannot be read."""
    try:
        with path.open("rb") as file:
            return _entries(_tail(file, 2 * MAX_FILE_BYTES))
    except FileNotFoundError:
        return []
    except OSError as error:
        _log.warning("cannot read the history %s: %s", path, error.strerror)
        return []


def append_history(path: Path, text: str) -> None:
    """Append a message to the file, unless the user keeps it out by a space before it."""
    if not text.strip() or text.startswith(" "):
        return
    line = json.dumps(text, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
    if len(line) > MAX_ENTRY_BYTES:
        return
    try:
        make_private_folder(path.parent)
        with _locked(path):
            _append(path, line)
    except OSError as error:
        _log.warning("cannot write the history %s: %s", path, error.strerror)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Lock the history; where the file system has no locks, go on without."""
    name = str(path.with_suffix(".lock"))
    descriptor = open_private(name, os.O_RDWR | os.O_CREAT)
    try:
        with contextlib.suppress(OSError):
            lock(descriptor)
        yield
    finally:
        os.close(descriptor)


def _append(path: Path, line: bytes) -> None:
    with open(path, "a+b", opener=open_private) as file:
        size = file.seek(0, os.SEEK_END)
        if size and not _ends_with_line(file, size):  # a writer was killed, or a disk was full
            line = b"\n" + line
        file.write(line)
    if size + len(line) > MAX_FILE_BYTES:
        _compact(path)


def _ends_with_line(file: BinaryIO, size: int) -> bool:
    file.seek(size - 1)
    return file.read(1) == b"\n"


def _compact(path: Path) -> None:
    """Replace the file by its newer half."""
    with path.open("rb") as file:
        tail = _tail(file, MAX_FILE_BYTES // 2)
    partial = path.with_suffix(".partial")
    with open(partial, "wb", opener=open_private) as file:
        file.write(tail)
        file.flush()
        os.fsync(file.fileno())
    replace_file(partial, path)


def _tail(file: BinaryIO, size_bytes: int) -> bytes:
    """Return the last lines of a file, at most ``size_bytes``."""
    start = max(0, file.seek(0, os.SEEK_END) - size_bytes)
    file.seek(start)
    content = file.read(size_bytes)
    return content.partition(b"\n")[2] if start else content


def _entries(content: bytes) -> list[str]:
    lines = content.rstrip(b"\n").split(b"\n")[-MAX_ENTRIES:]
    return [text for line in lines if (text := _entry(line))]


def _entry(line: bytes) -> str:
    """Return the message of a line, "" if it is damaged."""
    try:
        text = json.loads(line)
    except (ValueError, RecursionError):
        return ""
    return text if isinstance(text, str) else ""
