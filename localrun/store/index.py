"""Index of a store: facts that were read from its files, in one file of the cache folder.

    <cache>/index/<hash of the store's path>:
    localrun-index 1 <version> <crc32 of the lines> <their size>
    <key> <JSON>
    ...

The index is only a cache. Its file is used if it belongs to this user, no other can write it, this
version wrote it and the checksum is right; otherwise it counts as empty and the next write replaces
it. A write replaces the whole file by a rename and keeps the lines that another process added
meanwhile. It knows nothing of what a line says; a reader checks the JSON and the stamps in it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import stat
import threading
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localrun import __version__
from localrun.disk import TEMPORARY, is_abandoned, temporary_beside, write_all
from localrun.private import PRIVATE_FILE, make_private_folder
from localrun.store.stamp import Stamp, stamp_of, status_stamp
from localrun.system.files import grants, is_own, replace_file

if TYPE_CHECKING:
    from collections.abc import Callable

FORMAT_VERSION = 1  # of the lines; raise it when facts are derived differently
MAX_BYTES = 16 << 20  # of all lines: some 10,000 models
MAX_INDEXES = 16  # of stores, in the cache folder
OTHERS_WRITE = 0o022
_log = logging.getLogger(__name__)


class StoreIndex:
    """Facts by key, in memory only if ``path`` is None. Safe to use from many threads."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._lock = threading.RLock()  # guards the fields below, and writes of the file
        self._lines: dict[str, bytes] = {}
        self._num_bytes = 0
        self._removed: set[str] = set()  # since the file was read
        self._file: Stamp | None = None  # as it was read or written last
        self._has_changed = False

    @classmethod
    def in_folder(cls, folder: Path, root: Path) -> StoreIndex:
        """Return the index of the store at ``root``, in a folder of indexes."""
        return cls(folder / hashlib.sha256(os.fsencode(root)).hexdigest()[:32])

    def get(self, key: str) -> Any:  # noqa: ANN401 - JSON that its reader checks
        """Return the JSON of a key, or None."""
        with self._lock:
            if key not in self._lines and key not in self._removed:
                self._read_again()
            line = self._lines.get(key)
        try:
            return None if line is None else json.loads(line)
        except (ValueError, RecursionError):
            return None

    def put(self, key: str, value: object) -> None:
        """Set the JSON of a key, unless the index is full."""
        line = json.dumps(value, separators=(",", ":")).encode()
        with self._lock:
            self._remove(key)
            if self._num_bytes + len(line) + len(key) <= MAX_BYTES:
                self._add(key, line)
                self._has_changed = True

    def keep(self, is_kept: Callable[[str], bool]) -> None:
        """Remove all keys but those for which ``is_kept`` is true."""
        with self._lock:
            for key in [key for key in self._lines if not is_kept(key)]:
                self._remove(key)
                self._has_changed = True
                if self._path is not None:
                    self._removed.add(key)

    def save(self) -> None:
        """Write the file if something changed; a folder that cannot be written is no error."""
        with self._lock:
            if self._path is None or not self._has_changed:
                return
            self._read_again()
            self._has_changed = False
            try:
                self._write(self._path)
            except OSError as error:
                _log.debug("%s is not written: %s", self._path, error)

    def _add(self, key: str, line: bytes) -> None:
        self._lines[key] = line
        self._removed.discard(key)
        self._num_bytes += len(key) + len(line)

    def _remove(self, key: str) -> None:
        line = self._lines.pop(key, None)
        if line is not None:
            self._num_bytes -= len(key) + len(line)

    def _read_again(self) -> None:
        """Add the lines of the file if it changed since it was read; ours win."""
        if self._path is None:
            return
        try:
            if stamp_of(self._path) == self._file:
                return
            self._file, content = _read_own(self._path)
        except OSError:
            return
        for line in _lines_of(content):
            key, _, value = line.partition(b" ")
            name = key.decode("ascii", "replace")
            if name not in self._lines and name not in self._removed:
                self._add(name, value)

    def _write(self, path: Path) -> None:
        lines = b"".join(b"%s %s\n" % (key.encode(), line) for key, line in self._lines.items())
        make_private_folder(path.parent)
        temporary = temporary_beside(path.with_name(f"{path.name}-{os.urandom(4).hex()}"))
        try:
            with open(temporary, "xb", buffering=0, opener=_open_new) as file:
                write_all(file, _head(lines))
                write_all(file, lines)
            replace_file(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        self._file = stamp_of(path)
        self._removed.clear()
        _tidy(path.parent)


def _head(lines: bytes) -> bytes:
    words = ("localrun-index", FORMAT_VERSION, __version__, f"{zlib.crc32(lines):08x}", len(lines))
    return " ".join(map(str, words)).encode() + b"\n"


def _lines_of(content: bytes) -> list[bytes]:
    """Return the lines of an index, none if it is damaged or of another version."""
    head, end, lines = content.partition(b"\n")
    return lines.splitlines() if head + end == _head(lines) else []


def _read_own(path: Path) -> tuple[Stamp, bytes]:
    """Return the stamp and the bytes of a file that this user alone can write; empty if others can.

    Raises:
        OSError: the file cannot be read.
    """
    with open(path, "rb", buffering=0, opener=_open_unfollowed) as file:
        status = os.fstat(file.fileno())
        is_safe = is_own(status) and not grants(status, OTHERS_WRITE)
        if not is_safe or not stat.S_ISREG(status.st_mode) or status.st_size > 2 * MAX_BYTES:
            return status_stamp(status), b""
        return status_stamp(status), file.read(2 * MAX_BYTES)


def _open_unfollowed(path: str, flags: int) -> int:
    """Open without following a link, and without waiting for the writer of a pipe."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))


def _open_new(path: str, flags: int) -> int:
    return os.open(path, flags, PRIVATE_FILE)


def _tidy(folder: Path) -> None:
    """Delete what killed processes left, and the indexes that were written longest ago."""
    with contextlib.suppress(OSError):
        indexes = []
        with os.scandir(folder) as entries:  # closed also if an entry vanishes meanwhile
            for entry in entries:
                if TEMPORARY not in entry.name:
                    indexes.append((entry.stat().st_mtime_ns, entry.path))
                elif is_abandoned(Path(entry.path)):
                    Path(entry.path).unlink(missing_ok=True)
        for _, oldest in sorted(indexes)[:-MAX_INDEXES]:
            Path(oldest).unlink(missing_ok=True)
