"""What of a download is on the disk, written twice in a second and every few megabytes.

    <folder>/data          the file, with holes where bytes are missing
    <folder>/journal       JSON, replaced in one rename:
        {"format_version": 1, "boot": "<id of the machine's start>",
         "file": {"size_bytes", "digest", "etag", "url"},
         "ranges": [[0, 2097152]],
         "hashed": {"length": 1048576, "state": "<hex>", "num_checked": 65536, "crc32": 1}}
    <folder>/journal.durable    the same, as it was when data was last fsynced; fsynced too

After a kill -9 the kernel still has every byte that was written, so ``journal`` holds.
After a crash of the machine, told by the boot id, only ``journal.durable`` does. The last
bytes that were hashed are compared with their checksum before the hash is gone on with.
The caller of all this holds the folder's lock.
"""

from __future__ import annotations

import json
import os
import zlib
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from localrun.registry.transfer.ranges import Ranges

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT_VERSION = 1
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
MOST_BYTES = 16 << 20
MOST_CHECKED = 1 << 20
UNREADABLE = (
    OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class FileVersion:
    """Which file is being downloaded: the digest if it is known, else what the server says."""

    size_bytes: int | None = None
    digest: str | None = None
    etag: str | None = None
    url: str | None = None  # without its query, which may be a secret

    def is_same_as(self, other: FileVersion) -> bool:
        """Return whether bytes of the one are bytes of the other."""
        if self.digest is not None and other.digest is not None:
            return (self.digest, self.size_bytes) == (other.digest, other.size_bytes)
        return self.etag is not None and self == other


@dataclass(frozen=True, slots=True, kw_only=True)
class HashCheckpoint:
    """How far a file was hashed, and what the last of these bytes were."""

    length: int
    state: str
    num_checked: int  # bytes before ``length`` that the checksum is of
    crc32: int

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read it; raises ValueError, KeyError or TypeError when it is none."""
        length, num_checked = int(value["length"]), int(value["num_checked"])
        state, crc32 = value["state"], int(value["crc32"])
        if not isinstance(state, str) or not 0 <= num_checked <= min(length, MOST_CHECKED):
            raise ValueError("not a place in a hash")
        return cls(length=length, state=state, num_checked=num_checked, crc32=crc32)


@dataclass(frozen=True, slots=True)
class DownloadState:
    """A moment of a download: the bytes that are there, and the hash of the first of them."""

    ranges: Ranges
    hashed: HashCheckpoint | None = None  # None: not at all, or its state cannot be kept

    def to_json(self) -> dict[str, Any]:
        """Return the mark as the journal writes it."""
        hashed = None if self.hashed is None else asdict(self.hashed)
        return {"ranges": self.ranges.intervals(), "hashed": hashed}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read a mark; raises ValueError, KeyError or TypeError when it is none."""
        intervals = [(int(start), int(end)) for start, end in value["ranges"]]
        if not all(0 <= start < end for start, end in intervals):
            raise ValueError("not intervals of a file")
        ranges, place = Ranges(intervals), value["hashed"]
        hashed = None if place is None else HashCheckpoint.from_json(place)
        if hashed is not None and hashed.length > ranges.end_of(0):
            raise ValueError("more was hashed than is there")
        return cls(ranges, hashed)


class Journal:
    """The journal of one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self._path = folder / "journal"
        self._durable = folder / "journal.durable"

    def load(self) -> tuple[FileVersion, DownloadState] | None:
        """Return what is on the disk, None when nothing is that can be used."""
        return self._read(self._path, boot_id()) or self._read(self._durable, None)

    def save(self, identity: FileVersion, mark: DownloadState) -> None:
        """Replace the journal."""
        self._write(self._path, identity, mark, is_durable=False)

    def save_durable(self, identity: FileVersion, mark: DownloadState) -> None:
        """Replace the durable journal: the mark's bytes have been fsynced."""
        self._write(self._durable, identity, mark, is_durable=True)

    def clear(self) -> None:
        """Forget everything that was downloaded."""
        for path in (self._path, self._durable, *self.folder.glob("journal.*"), self.data):
            path.unlink(missing_ok=True)

    def _read(self, path: Path, boot: str | None) -> tuple[FileVersion, DownloadState] | None:
        """Return what one journal says, None when it is none or of another boot."""
        try:
            if path.stat().st_size > MOST_BYTES:
                return None
            value = json.loads(path.read_bytes())
            if value["format_version"] != FORMAT_VERSION or boot not in {None, value["boot"]}:
                return None
            mark, identity = DownloadState.from_json(value), FileVersion(**value["file"])
            return self._checked(identity, mark)
        except UNREADABLE:
            return None

    def _checked(
        self, identity: FileVersion, mark: DownloadState
    ) -> tuple[FileVersion, DownloadState] | None:
        """Compare with the data: what is torn is hashed anew, or if no digest is known dropped."""
        size = min(self.data.stat().st_size, identity.size_bytes or 0)
        if any(end > size for _, end in mark.ranges.intervals()):
            return None
        if mark.hashed is None or _is_as_hashed(self.data, mark.hashed):
            return identity, mark
        return None if identity.digest is None else (identity, DownloadState(mark.ranges))

    def _write(
        self, path: Path, identity: FileVersion, mark: DownloadState, *, is_durable: bool
    ) -> None:
        value = {
            "format_version": FORMAT_VERSION,
            "boot": boot_id(),
            "file": asdict(identity),
            **mark.to_json(),
        }
        temporary = path.with_name(f"{path.name}.new")
        with temporary.open("w") as file:
            json.dump(value, file)
            if is_durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)


@cache
def boot_id() -> str:
    """Return what changes when the machine starts anew; where nothing tells, always another."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return os.urandom(16).hex()


def _is_as_hashed(data: Path, hashed: HashCheckpoint) -> bool:
    with data.open("rb") as file:
        file.seek(hashed.length - hashed.num_checked)
        return zlib.crc32(file.read(hashed.num_checked)) == hashed.crc32
