"""Writing of a GGUF file whose tensors are pieces of another file.

Blocks can be shared only if they begin at the same place within a block in both files, so a text
of the right length is added to the header. llama.cpp wants the tensors without gaps, so only the
longest range of the source is sure to be shared.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.errors import IntegrityError
from localrun.gguf.header import DEFAULT_ALIGNMENT, MAGIC
from localrun.system.files import copy_range, read_at
from localrun.translation.rules import PADDING
from localrun.translation.values import U32, encoded_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import BinaryIO

    from localrun.translation.pieces import NewTensor

VERSION = 3
BLOCK_BYTES = 4096  # of file systems that share blocks
LARGE_BYTES = 1 << 20  # of pieces that are copied one by one
ALIGNMENT = "general.alignment"


@dataclass(frozen=True, slots=True)
class _Range:
    """A range of the source that stays together in the data."""

    start: int  # in the source
    offset: int  # in the new data
    num_bytes: int


@dataclass(frozen=True, slots=True)
class NewFile:
    """The keys with their encoded values, and the tensors, of a new file."""

    pairs: Mapping[str, bytes]
    tensors: tuple[NewTensor, ...]

    @property
    def data_bytes(self) -> int:
        """Return the bytes of the tensors' data."""
        return self._offsets()[-1]

    @property
    def num_bytes(self) -> int:
        """Return the most bytes that the file may have."""
        return len(self._header(BLOCK_BYTES)) + self._alignment + self.data_bytes

    def write(self, source: BinaryIO, target: BinaryIO, on_bytes: Callable[[int], None]) -> None:
        """Write the file at the beginning of ``target``; ``on_bytes`` gets what is done.

        Raises:
            IntegrityError: a type of numbers is not known.
            OSError: the source ends before, or the target takes no more.
        """
        runs, alignment = list(self._runs()), self._alignment
        start = -(-len(self._header(0)) // alignment) * alignment
        longest = max(runs, key=lambda run: run.num_bytes, default=_Range(0, 0, 0))
        padding = (longest.start - start - longest.offset) % BLOCK_BYTES
        start += padding // alignment * alignment
        target.write(self._header(padding // alignment * alignment).ljust(start, b"\0"))
        target.flush()
        target.truncate(start + self.data_bytes)
        for run in runs:
            self._copy(source, target, run.start, start + run.offset, run.num_bytes, on_bytes)
        for tensor, offset in zip(self.tensors, self._offsets(), strict=False):
            if not tensor.is_one_piece:
                self._write_pieces(source, target, tensor, start + offset, on_bytes)

    def _write_pieces(
        self,
        source: BinaryIO,
        target: BinaryIO,
        tensor: NewTensor,
        offset: int,
        on_bytes: Callable[[int], None],
    ) -> None:
        if tensor.is_copied and all(block.num_bytes >= LARGE_BYTES for block in tensor.blocks):
            for block in tensor.blocks:
                for piece in block.offsets():
                    self._copy(source, target, piece, offset, block.num_bytes, on_bytes)
                    offset += block.num_bytes
            return
        from localrun.translation.elements import new_chunks  # loads numpy

        target.seek(offset)
        target.writelines(new_chunks(source.fileno(), tensor, _read))
        target.flush()
        on_bytes(tensor.old_bytes)

    def _copy(
        self,
        source: BinaryIO,
        target: BinaryIO,
        start: int,
        offset: int,
        num_bytes: int,
        on_bytes: Callable[[int], None],
    ) -> None:
        for count in copy_range(source.fileno(), start, target.fileno(), offset, num_bytes):
            on_bytes(count)

    @property
    def _alignment(self) -> int:
        content = self.pairs.get(ALIGNMENT, b"")
        kind, value = (
            struct.unpack("<II", content) if len(content) == struct.calcsize("<II") else (0, 0)
        )
        return int(value) if kind == U32 and value else DEFAULT_ALIGNMENT

    def _offsets(self) -> list[int]:
        """Return the offset of each tensor within the data, and the end of all."""
        offsets, alignment = [0], self._alignment
        for tensor in self.tensors:
            offsets.append(-(-(offsets[-1] + tensor.num_bytes) // alignment) * alignment)
        return offsets

    def _header(self, padding: int) -> bytes:
        """Return the header, without what fills it up to the data."""
        pairs = {**self.pairs, PADDING: encoded_text(" " * padding)}
        parts = [MAGIC, struct.pack("<IQQ", VERSION, len(self.tensors), len(pairs))]
        for key, content in pairs.items():
            parts += [_name(key), content]
        for tensor, offset in zip(self.tensors, self._offsets(), strict=False):
            count = len(tensor.sizes)
            sizes = struct.pack(f"<I{count}Q", count, *tensor.sizes)
            parts += [_name(tensor.name), sizes, struct.pack("<IQ", tensor.kind, offset)]
        return b"".join(parts)

    def _runs(self) -> Iterator[_Range]:
        """Yield the ranges of tensors that are one piece, as long as they stay together."""
        run: _Range | None = None
        for tensor, offset in zip(self.tensors, self._offsets(), strict=False):
            if not tensor.is_one_piece:
                continue
            if run is not None and tensor.start - run.start == offset - run.offset:
                run = _Range(run.start, run.offset, offset - run.offset + tensor.num_bytes)
                continue
            if run is not None:
                yield run
            run = _Range(tensor.start, offset, tensor.num_bytes)
        if run is not None:
            yield run


def _name(text: str) -> bytes:
    content = text.encode()
    return struct.pack("<Q", len(content)) + content


def _read(descriptor: int, offset: int, num_bytes: int) -> bytes:
    buffer = bytearray(num_bytes)
    view, done = memoryview(buffer), 0
    while done < num_bytes:
        count = read_at(descriptor, view[done:], offset + done)
        if not count:
            raise IntegrityError("the file became shorter while it was read")
        done += count
    return bytes(buffer)
