"""Stored forms of integer matrices: GPTQ, AWQ, and LLM Compressor's packed integers.

GPTQ packs along the columns, and stores the matrix transposed:

    ….qweight   I32   (columns * bits / 32, rows)
    ….qzeros    I32   (groups, rows * bits / 32), in the first version one less than meant
    ….scales    F16   (groups, rows)
    ….g_idx     I32   (columns,), the group of each column

AWQ packs along the rows, eight in an order of their own to a word: ``qweight`` (columns, rows / 8).
LLM Compressor has rows and columns as the model has: ``weight_packed`` (rows, columns * bits / 32),
``weight_scale`` (rows, groups), ``weight_zero_point`` (rows * bits / 32, groups) or none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from localrun.convert.quantized.blocks import unpacked
from localrun.convert.safetensors import widened
from localrun.errors import IntegrityError

if TYPE_CHECKING:
    from localrun.convert.safetensors import Array, SafetensorsTensor

WORD = 32  # bits
AWQ_PLACES = np.array([0, 4, 1, 5, 2, 6, 3, 7])  # of a row's four bits in its word
AWQ_BITS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class GptqLayout:
    """GPTQ's form; ``missing`` is what stored zero points lack, 1 in the first version."""

    qweight: SafetensorsTensor
    qzeros: SafetensorsTensor
    stored_scales: SafetensorsTensor
    g_idx: SafetensorsTensor | None
    num_bits: int
    missing: int

    @property
    def shape(self) -> tuple[int, int]:
        """Return rows and columns."""
        words, rows = self.qweight.shape
        return rows, words * WORD // self.num_bits

    def check(self) -> None:
        """Check that the tensors fit together.

        Raises:
            IntegrityError: they do not.
        """
        rows, columns = self.shape
        groups = self.stored_scales.shape[0]
        shapes = (self.qzeros.shape, self.stored_scales.shape)
        fits = shapes == ((groups, rows * self.num_bits // WORD), (groups, rows))
        index = self.groups() if fits and groups else np.array([-1])
        if len(index) != columns or index.min() < 0 or index.max() >= groups:
            raise _misfit(self.qweight)

    def integers(self, rows: Array) -> Array:
        """Return the integers of rows."""
        return unpacked(np.asarray(self.qweight.stored()[:, rows]).T, self.num_bits)

    def scales(self, rows: Array) -> Array:
        """Return the scales of rows."""
        stored = self.stored_scales.stored()[:, rows]
        return widened(np.asarray(stored), self.stored_scales.dtype).T

    def zeros(self, rows: Array) -> Array:
        """Return the zero points of rows."""
        values = unpacked(np.asarray(self.qzeros.stored()), self.num_bits)[:, rows]
        return values.T.astype(np.int16) + self.missing

    def groups(self) -> Array:
        """Return the group of each column."""
        columns, count = self.shape[1], self.stored_scales.shape[0]
        if self.g_idx is not None:
            return np.asarray(self.g_idx.stored())
        return np.arange(columns) // -(-columns // count)


@dataclass(frozen=True, slots=True, kw_only=True)
class AwqLayout:
    """AWQ's form for matrix products (GEMM)."""

    qweight: SafetensorsTensor
    qzeros: SafetensorsTensor
    stored_scales: SafetensorsTensor
    num_bits: int = AWQ_BITS

    @property
    def shape(self) -> tuple[int, int]:
        """Return rows and columns."""
        columns, words = self.qweight.shape
        return words * WORD // self.num_bits, columns

    def check(self) -> None:
        """Check that the tensors fit together.

        Raises:
            IntegrityError: they do not.
        """
        rows, columns = self.shape
        groups = self.stored_scales.shape[0]
        shapes = (self.qzeros.shape, self.stored_scales.shape)
        if shapes != ((groups, self.qweight.shape[1]), (groups, rows)) or columns % (groups or 1):
            raise _misfit(self.qweight)

    def integers(self, rows: Array) -> Array:
        """Return the integers of rows."""
        return _awq_values(self.qweight, rows)

    def scales(self, rows: Array) -> Array:
        """Return the scales of rows."""
        stored = self.stored_scales.stored()[:, rows]
        return widened(np.asarray(stored), self.stored_scales.dtype).T

    def zeros(self, rows: Array) -> Array:
        """Return the zero points of rows."""
        return _awq_values(self.qzeros, rows).astype(np.int16)

    def groups(self) -> Array:
        """Return the group of each column."""
        columns = self.shape[1]
        return np.arange(columns) // (columns // self.stored_scales.shape[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedLayout:
    """LLM Compressor's form."""

    packed: SafetensorsTensor
    stored_scales: SafetensorsTensor
    zero_points: SafetensorsTensor | None
    num_bits: int

    @property
    def shape(self) -> tuple[int, int]:
        """Return rows and columns."""
        rows, words = self.packed.shape
        return rows, words * WORD // self.num_bits

    def check(self) -> None:
        """Check that the tensors fit together.

        Raises:
            IntegrityError: they do not.
        """
        rows, columns = self.shape
        groups = self.stored_scales.shape[-1]
        zero_shape = (rows * self.num_bits // WORD, groups)
        fits = self.zero_points is None or self.zero_points.shape == zero_shape
        if not fits or self.stored_scales.shape != (rows, groups) or columns % (groups or 1):
            raise _misfit(self.packed)

    def integers(self, rows: Array) -> Array:
        """Return the integers of rows."""
        return unpacked(np.asarray(self.packed.stored()[rows]), self.num_bits)

    def scales(self, rows: Array) -> Array:
        """Return the scales of rows."""
        return widened(np.asarray(self.stored_scales.stored()[rows]), self.stored_scales.dtype)

    def zeros(self, rows: Array) -> Array:
        """Return the zero points of rows."""
        if self.zero_points is None:
            shape = (len(rows), self.stored_scales.shape[1])
            return np.full(shape, 1 << (self.num_bits - 1), np.int16)
        values = unpacked(np.asarray(self.zero_points.stored()).T, self.num_bits)
        return values.T[rows].astype(np.int16)

    def groups(self) -> Array:
        """Return the group of each column."""
        columns = self.shape[1]
        return np.arange(columns) // (columns // self.stored_scales.shape[1])


def _awq_values(tensor: SafetensorsTensor, rows: Array) -> Array:
    words = np.asarray(tensor.stored()[:, rows // len(AWQ_PLACES)]).view(np.uint32)
    shifts = (AWQ_BITS * AWQ_PLACES[rows % len(AWQ_PLACES)]).astype(np.uint32)
    values: Array = ((words >> shifts) & 0x0F).astype(np.uint8).T
    return values


def _misfit(tensor: SafetensorsTensor) -> IntegrityError:
    return IntegrityError(
        f"tensor {tensor.name} and its scales and zero points do not fit together"
    )
