"""What of a download is on the disk, written about once in half a second.

    <folder>/data          the file, with holes where bytes are missing
    <folder>/journal       JSON, replaced in one rename:
        {"format_version": 1, "boot": "<id of the machine's start>",
         "file": {"size_bytes", "digest", "etag", "url"},
         "now":     {"ranges": [[0, 900]], "hashed": 896, "state": "<hex>"},
         "durable": {... the same, as it was when data was last fsynced}}
    <folder>/lock          held by the process that downloads

After a kill -9 the kernel still has every byte that was written, so ``now`` holds. After
a crash of the machine, told by the boot id, only ``durable`` does.
"""

from __future__ import annotations

import json
import os
import uuid
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from localrun.registry.ranges import Ranges

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT_VERSION = 1
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
MOST_BYTES = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Which file is being downloaded: the digest if it is known, else what the server says."""

    size_bytes: int | None = None
    digest: str | None = None
    etag: str | None = None
    url: str | None = None  # without its query, which may be a secret

    def is_same_as(self, other: Identity) -> bool:
        """Tell whether bytes of the one are bytes of the other."""
        if self.digest is not None and other.digest is not None:
            return self.digest == other.digest
        return self.etag is not None and self == other


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment of a download: the bytes that are there, and the hash of the first of them."""

    ranges: Ranges
    hashed: int = 0
    state: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the mark as the journal writes it."""
        return {"ranges": self.ranges.intervals(), "hashed": self.hashed, "state": self.state}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read a mark; raises ValueError, KeyError or TypeError when it is none."""
        ranges = Ranges((int(start), int(end)) for start, end in value["ranges"])
        return cls(ranges, int(value["hashed"]), value["state"])


class Journal:
    """The journal of one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self._path = folder / "journal"

    def load(self) -> tuple[Identity, Mark] | None:
        """Return what is on the disk, None when nothing is that can be used."""
        try:
            if self._path.stat().st_size > MOST_BYTES:
                return None
            value = json.loads(self._path.read_bytes())
            is_same_boot = value["boot"] == boot_id()
            mark = Mark.from_json(value["now" if is_same_boot else "durable"])
            identity = Identity(**value["file"])
            size = self.data.stat().st_size
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        is_whole = value["format_version"] == FORMAT_VERSION and all(
            0 <= start < end <= size for start, end in mark.ranges.intervals()
        )
        return (identity, mark) if is_whole else None

    def save(self, identity: Identity, now: Mark, durable: Mark, *, is_synced: bool) -> None:
        """Replace the journal; ``is_synced`` when ``durable`` has moved."""
        value = {
            "format_version": FORMAT_VERSION,
            "boot": boot_id(),
            "file": asdict(identity),
            "now": now.to_json(),
            "durable": durable.to_json(),
        }
        temporary = self.folder / f"journal.{uuid.uuid4().hex[:8]}"
        with temporary.open("w") as file:
            json.dump(value, file)
            if is_synced:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(self._path)

    def clear(self) -> None:
        """Forget everything that was downloaded."""
        for path in self.folder.glob("journal*"):
            path.unlink(missing_ok=True)
        self.data.unlink(missing_ok=True)


@cache
def boot_id() -> str:
    """Return what changes when the machine starts anew; where nothing tells, always another."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return uuid.uuid4().hex
