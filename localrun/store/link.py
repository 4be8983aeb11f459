"""Record of a blob that shares its bytes with another tool's file by a hard link.

    links/<hex>     {"format_version": 1, "path": "/home/me/model.gguf", "inode": 7,
                     "size_bytes": 42, "modified_ns": 1700000000000000000}

A record is valid only while the blob is the file with that inode.
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
    """File of another tool whose bytes a blob shares, and the file's state at that time."""

    path: str
    inode: int  # a blob with another inode is not shared: a kill left a stale record
    size_bytes: int
    modified_ns: int

    @classmethod
    def of(cls, path: Path) -> Self:
        """Return the record of a file's current state."""
        status = path.stat()
        return cls(
            path=str(path),
            inode=status.st_ino,
            size_bytes=status.st_size,
            modified_ns=status.st_mtime_ns,
        )

    @classmethod
    def from_json(cls, content: bytes) -> Self:
        """Parse a record; raise ValueError, KeyError or TypeError if it is malformed."""
        record = json.loads(content)
        if record["format_version"] != FORMAT_VERSION:
            raise ValueError(record["format_version"])
        return cls(
            path=str(record["path"]),
            inode=int(record["inode"]),
            size_bytes=int(record["size_bytes"]),
            modified_ns=int(record["modified_ns"]),
        )

    def to_json(self) -> bytes:
        """Return the content of the record's file."""
        record = {"format_version": FORMAT_VERSION, **asdict(self)}
        return json.dumps(record, sort_keys=True).encode()
