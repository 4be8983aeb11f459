"""NVFP4: blocks of 16 four-bit values with a scale in E4M3, repacked for GGUF without a loss.

    ….weight                U8       two neighbouring values a byte, the first in the low half
    ….weight_scale          F8_E4M3  one for each block
    ….weight_scale_2        F32      one for the whole matrix, a tensor of its own in GGUF
    ….input_scale           F32      of the activations, likewise

LLM Compressor calls them ``weight_packed``, ``weight_global_scale`` and ``input_global_scale``,
and stores the reciprocals of the last two. GGUF has four scales before the 32 bytes of their
blocks, and value j beside value j + 8.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from localrun.errors import IntegrityError, UsageError

if TYPE_CHECKING:
    from localrun.convert.safetensors import Array, SafetensorsTensor
    from localrun.convert.sources import Rows

GROUP, JOINED = 16, 4  # values of a block, blocks of GGUF's
HALF = GROUP // 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Nvfp4Tensor:
    """Matrix in NVFP4, without its common scale."""

    name: str
    weight: SafetensorsTensor
    scale: SafetensorsTensor

    @property
    def dtype(self) -> str:
        """Return NVFP4."""
        return "NVFP4"

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of the values."""
        rows, columns = self.weight.shape
        return (rows, 2 * columns)

    def stored(self) -> Rows:
        """Return the bytes of GGUF by rows."""
        return _RepackedRows(self)


@dataclass(frozen=True, slots=True)
class _RepackedRows:
    tensor: Nvfp4Tensor

    def __getitem__(self, rows: slice | Array, /) -> Array:
        weight = np.asarray(self.tensor.weight.stored()[rows])
        scales = np.asarray(self.tensor.scale.stored()[rows]) & 0x7F  # without the sign bit
        count = len(weight)
        values = np.stack([weight & 0x0F, weight >> 4], axis=-1).reshape(count, -1, GROUP)
        packed = values[..., :HALF] | (values[..., HALF:] << 4)
        by_four = packed.reshape(count, -1, JOINED * HALF)
        joined = np.concatenate([scales.reshape(count, -1, JOINED), by_four], axis=-1)
        return joined.reshape(count, -1)


def join_nvfp4(name: str, weight: SafetensorsTensor, scale: SafetensorsTensor) -> Nvfp4Tensor:
    """Return the matrix of two tensors of a file.

    Raises:
        IntegrityError: they do not fit together.
        UsageError: its rows are no multiple of GGUF's blocks.
    """
    rows, columns = (*weight.shape, 0)[:2]
    fits = len(weight.shape) == 2 and scale.shape == (rows, 2 * columns // GROUP)  # noqa: PLR2004
    if not fits or weight.dtype != "U8" or scale.dtype != "F8_E4M3":
        raise IntegrityError(f"tensors {weight.name} and {scale.name} do not fit together")
    if 2 * columns % (GROUP * JOINED):
        raise UsageError(f"tensor {weight.name} has {2 * columns} columns, no multiple of 64")
    return Nvfp4Tensor(name=name, weight=weight, scale=scale)
