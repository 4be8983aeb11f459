"""Pieces of a file that make up a tensor of the new file.

A block is many pieces of equal length at regular distances, so that their number takes no memory.

ggml once had a type with the number 4 and removed it. Ollama's old engine stored MXFP4 under it,
with the halves of a block's numbers in another order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.errors import IntegrityError
from localrun.gguf.data import TENSOR_TYPES, TensorType

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localrun.gguf.header import GgufTensor

F32, OLD_MXFP4, MXFP4 = 0, 4, 39


@dataclass(frozen=True, slots=True)
class Block:
    """Pieces of a file: at each start one, and again ``count`` times a ``stride`` further."""

    kind: int  # ggml's number of the type of its numbers
    starts: tuple[int, ...]  # offsets in the file
    num_bytes: int  # of one piece
    stride: int = 0
    count: int = 1

    def offsets(self) -> Iterator[int]:
        """Yield the offset of each piece."""
        for number in range(self.count):
            for start in self.starts:
                yield start + number * self.stride

    @property
    def total_bytes(self) -> int:
        """Return the bytes of all pieces."""
        return self.count * len(self.starts) * self.num_bytes


@dataclass(frozen=True, slots=True)
class NewTensor:
    """Tensor of the new file."""

    name: str
    sizes: tuple[int, ...]
    kind: int
    blocks: tuple[Block, ...]
    old: str = ""  # its name in the file, if it is one tensor there
    plus: float = 0.0  # added to each number
    side: int | None = None  # of the square that its rows are resized to

    @property
    def start(self) -> int:
        """Return the offset of its first piece in the file."""
        return self.blocks[0].starts[0]

    @property
    def starts(self) -> set[int]:
        """Return the offsets at which its blocks begin in the file."""
        return {start for block in self.blocks for start in block.starts}

    @property
    def num_bytes(self) -> int:
        """Return the bytes of its data."""
        kind = TENSOR_TYPES[self.kind]
        return math.prod(self.sizes) // kind.num_numbers * kind.num_bytes

    @property
    def old_bytes(self) -> int:
        """Return the bytes of its pieces."""
        return sum(block.total_bytes for block in self.blocks)

    @property
    def is_copied(self) -> bool:
        """Return whether its data are the bytes of its pieces."""
        return self.side is None and not self.plus and {b.kind for b in self.blocks} == {self.kind}

    @property
    def is_one_piece(self) -> bool:
        """Return whether its data are one range of the file."""
        return (
            self.is_copied
            and len(self.blocks) == self.blocks[0].count == 1
            and (len(self.blocks[0].starts) == 1)
        )


def new_kind(kind: int) -> int:
    """Return ggml's number of a type in the file that is translated."""
    return MXFP4 if kind == OLD_MXFP4 else kind


def type_of(kind: int) -> TensorType | None:
    """Return a type in the file that is translated, or None if it is not known."""
    return TENSOR_TYPES.get(new_kind(kind))


def bytes_of(tensor: GgufTensor) -> int | None:
    """Return the bytes of a tensor of that file, or None if its type is not known."""
    known = type_of(tensor.kind)
    return None if known is None else tensor.num_elements // known.num_numbers * known.num_bytes


def row_bytes(kind: int, columns: int) -> int:
    """Return the bytes of a row."""
    known = TENSOR_TYPES[new_kind(kind)]
    return columns // known.num_numbers * known.num_bytes


def check_alike(name: str, sizes: set[tuple[int, ...]]) -> None:
    """Check that tensors which become one have one shape.

    Raises:
        IntegrityError: they have not.
    """
    if len(sizes) > 1:
        raise IntegrityError(f"the parts of {name} have different shapes")
