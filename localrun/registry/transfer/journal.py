"""Journal of a download: the ranges and the hash state on disk, saved twice a second.

    <folder>/data          the file, with holes where bytes are missing
    <folder>/journal       JSON, replaced by one rename:
        {"format_version": 1, "boot": "<boot id of the machine>",
         "file": {"size_bytes", "digest", "etag", "url"},
         "ranges": [[0, 2097152]],
         "hashed": {"length": 1048576, "state": "<hex>", "num_checked": 65536, "crc32": 1}}
    <folder>/journal.durable    the journal at the last fsync of data; fsynced too

After kill -9 the kernel still has every written byte, so ``journal`` is valid. After a crash of
the machine, which the boot id reveals, only ``journal.durable`` is valid. Before the hash resumes,
the last hashed bytes are compared with their checksum. The caller holds the folder's lock.
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
from localrun.system.files import replace_file

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT_VERSION = 1
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
MAX_BYTES = 16 << 20
MAX_CHECKED = 1 << 20
UNREADABLE = (
    OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class FileVersion:
    """Version of the file: its digest if known, else size, ETag and URL of the server."""

    size_bytes: int | None = None
    digest: str | None = None
    etag: str | None = None
    url: str | None = None  # without its query, which may hold a secret

    def is_same_as(self, other: FileVersion) -> bool:
        """Return whether both versions have the same bytes."""
        if self.digest is not None and other.digest is not None:
            return (self.digest, self.size_bytes) == (other.digest, other.size_bytes)
        return self.etag is not None and self == other


@dataclass(frozen=True, slots=True, kw_only=True)
class HashCheckpoint:
    """State of the hash at a position, with a checksum of the bytes before it."""

    length: int
    state: str
    num_checked: int  # number of bytes before ``length`` that the checksum covers
    crc32: int

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Parse a checkpoint; raise ValueError, KeyError or TypeError if it is malformed."""
        length, num_checked = int(value["length"]), int(value["num_checked"])
        state, crc32 = value["state"], int(value["crc32"])
        if not isinstance(state, str) or not 0 <= num_checked <= min(length, MAX_CHECKED):
            raise ValueError("not a hash checkpoint")
        return cls(length=length, state=state, num_checked=num_checked, crc32=crc32)


@dataclass(frozen=True, slots=True)
class DownloadState:
    """Ranges on disk, and the hash checkpoint of the beginning, at one moment."""

    ranges: Ranges
    hashed: HashCheckpoint | None = None  # None: nothing is hashed, or the state cannot be saved

    def to_json(self) -> dict[str, Any]:
        """Return the state in the journal's format."""
        hashed = None if self.hashed is None else asdict(self.hashed)
        return {"ranges": self.ranges.intervals(), "hashed": hashed}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Parse a state; raise ValueError, KeyError or TypeError if it is malformed."""
        intervals = [(int(start), int(end)) for start, end in value["ranges"]]
        if not all(0 <= start < end for start, end in intervals):
            raise ValueError("not ranges of a file")
        ranges, checkpoint = Ranges(intervals), value["hashed"]
        hashed = None if checkpoint is None else HashCheckpoint.from_json(checkpoint)
        if hashed is not None and hashed.length > ranges.end_of(0):
            raise ValueError("more bytes hashed than on disk")
        return cls(ranges, hashed)


class Journal:
    """Journal of one download folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self._path = folder / "journal"
        self._durable = folder / "journal.durable"

    def load(self) -> tuple[FileVersion, DownloadState] | None:
        """Return version and state on disk, or None if there is nothing usable."""
        return self._read(self._path, boot_id()) or self._read(self._durable, None)

    def save(self, version: FileVersion, state: DownloadState) -> None:
        """Replace the journal."""
        self._write(self._path, version, state, is_durable=False)

    def save_durable(self, version: FileVersion, state: DownloadState) -> None:
        """Replace the durable journal; the state's bytes have been fsynced."""
        self._write(self._durable, version, state, is_durable=True)

    def clear(self) -> None:
        """Delete the journal and all downloaded bytes."""
        for path in (self._path, self._durable, *self.folder.glob("journal.*"), self.data):
            path.unlink(missing_ok=True)

    def _read(self, path: Path, boot: str | None) -> tuple[FileVersion, DownloadState] | None:
        """Return the content of a journal file, or None if malformed or of another boot."""
        try:
            if path.stat().st_size > MAX_BYTES:
                return None
            value = json.loads(path.read_bytes())
            if value["format_version"] != FORMAT_VERSION or boot not in {None, value["boot"]}:
                return None
            state, version = DownloadState.from_json(value), FileVersion(**value["file"])
            return self._checked(version, state)
        except UNREADABLE:
            return None

    def _checked(
        self, version: FileVersion, state: DownloadState
    ) -> tuple[FileVersion, DownloadState] | None:
        """Compare a state with the data; drop a torn hash, or all without a known digest."""
        size = min(self.data.stat().st_size, version.size_bytes or 0)
        if any(end > size for _, end in state.ranges.intervals()):
            return None
        if state.hashed is None or _is_as_hashed(self.data, state.hashed):
            return version, state
        return None if version.digest is None else (version, DownloadState(state.ranges))

    def _write(
        self, path: Path, version: FileVersion, state: DownloadState, *, is_durable: bool
    ) -> None:
        value = {
            "format_version": FORMAT_VERSION,
            "boot": boot_id(),
            "file": asdict(version),
            **state.to_json(),
        }
        temporary = path.with_name(f"{path.name}.new")
        with temporary.open("w") as file:
            json.dump(value, file)
            if is_durable:
                file.flush()
                os.fsync(file.fileno())
        replace_file(temporary, path)


@cache
def boot_id() -> str:
    """Return an id of the machine's current boot; a random one if the system has none."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return os.urandom(16).hex()


def _is_as_hashed(data: Path, hashed: HashCheckpoint) -> bool:
    with data.open("rb") as file:
        file.seek(hashed.length - hashed.num_checked)
        return zlib.crc32(file.read(hashed.num_checked)) == hashed.crc32
