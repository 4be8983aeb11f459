"""Layers of an image: tar archives whose bytes depend on nothing but their entries.

Entries are sorted by path and have one time, numeric owners and no names; gzip has neither a file
name nor a time. The digest of the uncompressed archive (the diff id) is therefore the same on every
machine; that of the compressed one is the same wherever zlib is.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

COMPRESSION_LEVEL = 6
BLOCK = 1 << 20
FOLDER_MODE, FILE_MODE, PROGRAM_MODE = 0o755, 0o644, 0o755


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A folder, a file (bytes, or a file here with the same content) or a symbolic link."""

    path: str  # relative to the root, without a slash at either end
    content: bytes | Path | None = None
    link: str | None = None
    mode: int = FOLDER_MODE
    owner: int = 0


@dataclass(frozen=True, slots=True)
class Layer:
    """A compressed layer in a file, and its digests."""

    file: Path
    digest: str
    diff_id: str
    size: int


def write_layer(entries: Iterable[Entry], file: Path, *, time_s: int) -> Layer:
    """Write the entries, with the folders above them, as a compressed archive."""
    diff = _Hashed(hashlib.sha256())
    packed = _Hashed(hashlib.sha256())
    with file.open("wb") as out:
        packed.out = out
        with gzip.GzipFile("", "wb", COMPRESSION_LEVEL, packed, mtime=0) as zipped:
            diff.out = zipped
            with tarfile.open(fileobj=diff, mode="w|", format=tarfile.PAX_FORMAT) as tar:
                for entry in with_folders(entries):
                    _add(tar, entry, time_s)
    return Layer(file, packed.digest, diff.digest, file.stat().st_size)


def with_folders(entries: Iterable[Entry]) -> Sequence[Entry]:
    """Return the entries sorted by path, with root's folders where an entry has none above it.

    Raises:
        ValueError: two entries have the same path and differ.
    """
    by_path: dict[str, Entry] = {}
    for entry in entries:
        if by_path.setdefault(entry.path, entry) != entry:
            raise ValueError(f"two entries of the image have the path /{entry.path}")
    for path in list(by_path):
        parts = path.split("/")[:-1]
        for count in range(1, len(parts) + 1):
            folder = "/".join(parts[:count])
            by_path.setdefault(folder, Entry(path=folder))
    return [by_path[path] for path in sorted(by_path)]


class _Hashed(io.RawIOBase):
    """A stream that hashes what it passes on."""

    def __init__(self, hasher: hashlib._Hash) -> None:
        self._hasher = hasher
        self.out: io.RawIOBase | gzip.GzipFile | io.BufferedWriter

    def write(self, data: bytes) -> int:  # type: ignore[override] # tarfile and gzip write bytes
        self._hasher.update(data)
        self.out.write(data)
        return len(data)

    def writable(self) -> bool:
        return True

    @property
    def digest(self) -> str:
        return f"sha256:{self._hasher.hexdigest()}"


def _add(tar: tarfile.TarFile, entry: Entry, time_s: int) -> None:
    info = tarfile.TarInfo(entry.path)
    info.mode, info.mtime = entry.mode, time_s
    info.uid = info.gid = entry.owner
    if entry.link is not None:
        info.type, info.linkname, info.mode = tarfile.SYMTYPE, entry.link, 0o777
        tar.addfile(info)
    elif entry.content is None:
        info.type = tarfile.DIRTYPE
        tar.addfile(info)
    elif isinstance(entry.content, bytes):
        info.size = len(entry.content)
        tar.addfile(info, io.BytesIO(entry.content))
    else:
        info.size = entry.content.stat().st_size
        with entry.content.open("rb") as file:
            tar.addfile(info, file)
