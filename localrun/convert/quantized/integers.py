"""Matrices of small integers with scales for groups of columns, as GPTQ and AWQ make them.

A value is ``scale * (q - zero)``. With the zero point in the middle, this is GGUF's Q4_0 (up to
four bits) or Q8_0 (eight bits) without any loss. With another zero point, it is Q4_1, whose offset
``-scale * zero`` is rounded to F16, as the values themselves are where such a model runs in F16.
What has no such type (groups of scattered columns, eight bits with zero points) becomes the type of
the model's other tensors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from localrun.convert.quantized.blocks import GROUP, nibbles

if TYPE_CHECKING:
    from localrun.convert.safetensors import Array
    from localrun.convert.sources import Rows

FOUR, EIGHT = 4, 8  # bits
LARGEST_F16 = 65504.0


class IntegerLayout(Protocol):
    """The stored form of a matrix: its integers, scales and zero points by rows."""

    @property
    def shape(self) -> tuple[int, int]:
        """Return rows and columns."""

    @property
    def num_bits(self) -> int:
        """Return the bits of an integer."""

    def integers(self, rows: Array) -> Array:
        """Return the integers: uint8, shape (rows, columns)."""

    def scales(self, rows: Array) -> Array:
        """Return the scales: float32, shape (rows, groups)."""

    def zeros(self, rows: Array) -> Array:
        """Return the zero points: int16, shape (rows, groups)."""

    def groups(self) -> Array:
        """Return the group of each column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IntegerTensor:
    """Matrix of small integers; ``dtype`` is the type that it becomes, F32 if computed."""

    name: str
    layout: IntegerLayout
    dtype: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Return rows and columns."""
        return self.layout.shape

    def stored(self) -> Rows:
        """Return the bytes of GGUF, or the values, by rows."""
        return _Blocks(self.layout, self.dtype)


def integer_tensor(name: str, layout: IntegerLayout) -> IntegerTensor:
    """Return the matrix as the GGUF type that has its values."""
    return IntegerTensor(name=name, layout=layout, dtype=_dtype(layout))


def _dtype(layout: IntegerLayout) -> str:
    rows, columns = layout.shape
    everything = np.arange(rows)
    starts = layout.groups().reshape(-1, GROUP) if columns % GROUP == 0 else None
    scales, zeros = layout.scales(everything), layout.zeros(everything)
    halves = scales.astype(np.float16).astype(np.float32)
    if starts is None or (starts != starts[:, :1]).any() or not np.array_equal(halves, scales):
        return "F32"
    if (zeros == 1 << (layout.num_bits - 1)).all():
        return "Q8_0" if layout.num_bits == EIGHT else "Q4_0"
    offsets_fit = np.abs(scales * zeros).max() <= LARGEST_F16
    return "Q4_1" if layout.num_bits <= FOUR and offsets_fit else "F32"


@dataclass(frozen=True, slots=True)
class _Blocks:
    layout: IntegerLayout
    dtype: str

    def __getitem__(self, rows: slice | Array, /) -> Array:
        chosen = np.arange(self.layout.shape[0])[rows]
        integers, groups = self.layout.integers(chosen), self.layout.groups()
        scales, zeros = self.layout.scales(chosen), self.layout.zeros(chosen)
        if self.dtype == "F32":
            values: Array = scales[:, groups] * (integers.astype(np.int16) - zeros[:, groups])
            return values
        by_block = groups[::GROUP]
        heads = [scales[:, by_block].astype(np.float16)[..., None].view(np.uint8)]
        if self.dtype == "Q4_1":
            offsets = -scales[:, by_block] * zeros[:, by_block]
            heads.append(offsets.astype(np.float16)[..., None].view(np.uint8))
        middle = 1 << (self.layout.num_bits - 1)
        if self.dtype == "Q8_0":
            body = (integers ^ np.uint8(middle)).reshape(len(chosen), -1, GROUP)
        elif self.dtype == "Q4_0":
            body = nibbles(integers + np.uint8(8 - middle))
        else:
            body = nibbles(integers)
        return np.concatenate([*heads, body], axis=-1).reshape(len(chosen), -1)
