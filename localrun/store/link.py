"""The note of a blob that shares its bytes with another tool's file, by a hard link.

    links/<hex>     {"format_version": 1, "path": "/home/me/model.gguf", "inode": 7,
                     "size_bytes": 42, "modified_ns": 1700000000000000000}

A note says something of a blob only while the blob is the file with that inode.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Self

from localrun.store.layout import FORMAT_VERSION

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkRecord:
    """The file of another tool whose bytes a blob shares, as it was then."""

    path: str
    inode: int  # a blob that is another file is not shared: a kill left the note behind
    size_bytes: int
    modified_ns: int

    @classmethod
    def of(cls, path: Path) -> Self:
        """Describe a file as it is now."""
        status = path.stat()
        return cls(
            path=str(path),
            inode=status.st_ino,
            size_bytes=status.st_size,
            modified_ns=status.st_mtime_ns,
        )

    @classmethod
    def from_json(cls, content: bytes) -> Self:
        """Read a note; raises ValueError, KeyError or TypeError when it is none."""
        note = json.loads(content)
        if note["format_version"] != FORMAT_VERSION:
            raise ValueError(note["format_version"])
        return cls(
            path=str(note["path"]),
            inode=int(note["inode"]),
            size_bytes=int(note["size_bytes"]),
            modified_ns=int(note["modified_ns"]),
        )

    def to_json(self) -> bytes:
        """Return the note's file."""
        note = {"format_version": FORMAT_VERSION, **asdict(self)}
        return json.dumps(note, sort_keys=True).encode()
