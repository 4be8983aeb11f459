"""Bounded reader of numbers and strings in an untrusted file.

    time     a header ends within `LARGEST_HEADER` bytes and has `MAX_STRINGS` strings in arrays
    memory   a block of the file, and what the caller charges: `MAX_KEPT_BYTES`

Memory for a length that the file states is allocated only if the file has that many bytes.
Every error has the offset of the number or text that is wrong.
"""

from __future__ import annotations

import os
import stat
import struct
from typing import IO, TYPE_CHECKING

from localrun.errors import IntegrityError

if TYPE_CHECKING:
    from pathlib import Path

BLOCK_BYTES = 256 * 1024
LARGEST_HEADER = 512 * 1024 * 1024  # the largest vocabularies take some 20 MB
LONGEST_STRING = 4 * 1024 * 1024  # chat templates are some 10 KB, licences 100 KB
MAX_STRINGS = 4_000_000  # the largest vocabularies have a million with their merges
MAX_KEPT_BYTES = 64 * 1024 * 1024
U64 = struct.Struct("<Q")


class Reader:
    """A file with a position, which errors report."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self._file = file
        self._path = path
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise IntegrityError(f"{path} is not a GGUF file: not a file at all")
        self._end = min(status.st_size, LARGEST_HEADER)
        self._block = b""
        self._start = 0  # offset of the block in the file
        self._at = 0  # position within the block
        self._item = 0  # offset of the item that was read last
        self._kept_bytes = 0
        self._num_strings = 0

    @property
    def position(self) -> int:
        """Return the offset of the next byte."""
        return self._start + self._at

    def damaged(self, reason: str) -> IntegrityError:
        """Return an error about the item that was read last."""
        return IntegrityError(
            f"{self._path} is not a readable GGUF file: at byte {self._item}: {reason}",
            hint="it may be cut off or altered: get it again from where it came",
        )

    def take(self, size: int) -> bytes:
        """Read ``size`` bytes."""
        self._item = self.position
        self._fill(size)
        self._at += size
        return self._block[self._at - size : self._at]

    def number(self, shape: struct.Struct = U64) -> int:
        """Read a number with the size and type of ``shape``."""
        value: int = shape.unpack(self.take(shape.size))[0]
        return value

    def bounded(self, most: int, what: str) -> int:
        """Read a count, and raise if it exceeds ``most``."""
        value = self.number()
        if value > most:
            raise self.damaged(f"{value} {what}, more than the {most} that are sensible")
        return value

    def string(self, longest: int = LONGEST_STRING) -> str:
        """Read a text."""
        size = self.bounded(longest, "bytes of text")
        try:
            return self.take(size).decode()
        except UnicodeDecodeError as error:
            raise self.damaged(f"text that is not UTF-8: {error.reason}") from error

    def skip(self, size: int) -> None:
        """Skip bytes without reading them."""
        self._item = self.position
        self._jump(self.position + size)

    def skip_strings(self, count: int) -> None:
        """Skip the strings of an array."""
        self._num_strings += count
        if self._num_strings > MAX_STRINGS:
            raise self.damaged(f"{self._num_strings} strings in arrays, not {MAX_STRINGS} at most")
        while count:
            self._fill(U64.size)
            count = self._skip_within_block(count)

    def charge(self, size: int) -> None:
        """Count memory that the caller keeps, and raise if the sum exceeds the bound."""
        self._kept_bytes += size
        if self._kept_bytes > MAX_KEPT_BYTES:
            raise self.damaged(f"metadata that takes more than {MAX_KEPT_BYTES} bytes")

    def _skip_within_block(self, count: int) -> int:
        """Skip strings whose length is in the block; return the number that is left.

        The loop is nearly the whole cost of reading a vocabulary (0.1 us per string), so it checks
        no bounds: unpacking fails at the end of the block.
        """
        unpack, block, at, size = U64.unpack_from, self._block, self._at, -U64.size
        left = count
        try:
            for left in range(count, 0, -1):  # noqa: B007 - read after the loop
                at += size + 8
                size = unpack(block, at)[0]
        except (struct.error, OverflowError):
            self._item = self._start + at - size - 8
        else:
            self._item, at, left = self._start + at, at + size + 8, 0
        self._jump(self._start + at)
        return left

    def _jump(self, position: int) -> None:
        self._require(position)
        if self._start <= position <= self._start + len(self._block):
            self._at = position - self._start
        else:
            self._block, self._start, self._at = b"", position, 0

    def _fill(self, size: int) -> None:
        """Read so that the block has at least ``size`` bytes."""
        if len(self._block) - self._at >= size:
            return
        self._require(self.position + size)
        self._start, self._at = self.position, 0
        self._file.seek(self._start)
        self._block = self._file.read(max(size, BLOCK_BYTES))
        if len(self._block) < size:
            raise self.damaged("the file became shorter while it was read")

    def _require(self, position: int) -> None:
        """Raise if a position is beyond the end, before memory is allocated for it."""
        if position <= self._end:
            return
        if self._end == LARGEST_HEADER:
            raise self.damaged(f"it announces more than the {LARGEST_HEADER} bytes of any header")
        raise self.damaged("the file ends before what it announces")
