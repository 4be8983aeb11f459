"""FP8 with a scale for each block of a matrix, each row, or the matrix.

A file has ``….weight`` (rows, columns) in E4M3 and ``….weight_scale_inv`` or ``….weight_scale``,
by which the values are multiplied: (rows / 128, columns / 128) as DeepSeek and Qwen publish it,
(rows, 1) by LLM Compressor, one number by Mistral and ModelOpt. The values become those of the
model's other tensors' type: BF16 has more bits for the fraction than E4M3.

Format: https://arxiv.org/abs/2209.05433
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from localrun.convert.safetensors import widened
from localrun.errors import IntegrityError

if TYPE_CHECKING:
    from localrun.convert.safetensors import Array, SafetensorsTensor
    from localrun.convert.sources import Rows

SCALE = "_scale_inv"
BLOCK = 128  # rows and columns; the last ones may be smaller


def _values() -> Array:
    """Return the value of each byte: sign, 4 bits of exponent with bias 7, 3 bits of fraction."""
    bits = np.arange(256)
    sign = np.where(bits & 0x80, -1.0, 1.0)
    exponent, fraction = (bits >> 3) & 0x0F, bits & 0x07
    normal = np.exp2(exponent - 7.0) * (1 + fraction / 8)
    small = np.exp2(-6.0) * (fraction / 8)
    found = sign * np.where(exponent > 0, normal, small)
    found[(bits & 0x7F) == 0x7F] = np.nan  # noqa: PLR2004 - all bits set
    values: Array = found.astype(np.float32)
    return values


VALUES = _values()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fp8Tensor:
    """Matrix in E4M3 with its scales."""

    weight: SafetensorsTensor
    scale: SafetensorsTensor

    @property
    def name(self) -> str:
        """Return the name of the matrix."""
        return self.weight.name

    @property
    def dtype(self) -> str:
        """Return F32, the type in which values are computed."""
        return "F32"

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of the matrix."""
        return self.weight.shape

    def stored(self) -> Rows:
        """Return the values; a slice computes its rows."""
        return _Scaled(self)


@dataclass(frozen=True, slots=True)
class _Scaled:
    tensor: Fp8Tensor

    def __getitem__(self, rows: slice | Array, /) -> Array:
        weight, scale = self.tensor.weight, self.tensor.scale
        chosen = np.arange(weight.shape[0])[rows]
        scales = widened(np.asarray(scale.stored()), scale.dtype)
        values: Array = VALUES[np.asarray(weight.stored()[rows])]
        if scales.size == 1:
            factors = scales.reshape(1, 1)
        elif scales.size == weight.shape[0]:
            factors = scales.reshape(-1, 1)[chosen]
        else:
            factors = np.repeat(scales[chosen // BLOCK], BLOCK, axis=1)[:, : weight.shape[1]]
        return np.multiply(values, factors)


def join_scale(weight: SafetensorsTensor, scale: SafetensorsTensor) -> Fp8Tensor:
    """Return the matrix of two tensors of a file.

    Raises:
        IntegrityError: they do not fit together.
    """
    blocks = tuple(-(-size // BLOCK) for size in weight.shape)
    is_plain = scale.dtype in {"F32", "BF16", "F16"} and weight.dtype == "F8_E4M3"
    shapes = ((), (1,), weight.shape[:1], (*weight.shape[:1], 1), blocks)
    if len(weight.shape) != 2 or scale.shape not in shapes or not is_plain:  # noqa: PLR2004
        raise IntegrityError(f"tensors {weight.name} and {scale.name} do not fit together")
    return Fp8Tensor(weight=weight, scale=scale)
