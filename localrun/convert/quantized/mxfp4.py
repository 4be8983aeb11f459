"""MXFP4: blocks of 32 four-bit values with one exponent, repacked for GGUF without a loss.

A file has ``…_blocks`` (…, groups, 16) with two neighbouring values a byte, the first in the low
half, and ``…_scales`` (…, groups). GGUF has the exponent before its 16 bytes, and value j beside
value j + 16.

Format: https://www.opencompute.org/documents/ocp-microscaling-formats-mx-v1-0-spec-final-pdf
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from localrun.errors import IntegrityError

if TYPE_CHECKING:
    from localrun.convert.safetensors import Array, SafetensorsTensor
    from localrun.convert.sources import Rows

BLOCKS, SCALES = "_blocks", "_scales"
GROUP = 32  # values
HALF = GROUP // 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Mxfp4Tensor:
    """Matrices of experts; with a step of 2, every second row of them."""

    name: str
    blocks: SafetensorsTensor
    scales: SafetensorsTensor
    start: int = 0
    step: int = 1

    @property
    def dtype(self) -> str:
        """Return MXFP4."""
        return "MXFP4"

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of the values: experts, rows, columns."""
        experts, rows, groups, _ = self.blocks.shape
        return (experts, len(range(self.start, rows, self.step)), groups * GROUP)

    def stored(self) -> Rows:
        """Return the bytes of GGUF; a slice reads the experts that it names."""
        return _Repacked(self)

    def every_second(self, name: str, start: int) -> Mxfp4Tensor:
        """Return every second row from ``start`` on."""
        return replace(self, name=name, start=start, step=2)


@dataclass(frozen=True, slots=True)
class _Repacked:
    tensor: Mxfp4Tensor

    def __getitem__(self, experts: slice | Array, /) -> Array:
        tensor = self.tensor
        rows = slice(tensor.start, None, tensor.step)
        blocks = np.asarray(tensor.blocks.stored()[experts][:, rows])
        scales = np.asarray(tensor.scales.stored()[experts][:, rows])
        values = np.stack([blocks & 0x0F, blocks >> 4], axis=-1).reshape(*blocks.shape[:-1], GROUP)
        packed = values[..., :HALF] | (values[..., HALF:] << 4)
        joined = np.concatenate([scales[..., None], packed], axis=-1)
        return joined.reshape(*joined.shape[:2], -1)


def join_blocks(name: str, blocks: SafetensorsTensor, scales: SafetensorsTensor) -> Mxfp4Tensor:
    """Return the tensor of two tensors of a file.

    Raises:
        IntegrityError: they do not fit together.
    """
    shape = blocks.shape
    fits = len(shape) == 4 and shape[-1] == HALF and scales.shape == shape[:-1]  # noqa: PLR2004
    if not fits or {blocks.dtype, scales.dtype} != {"U8"}:
        raise IntegrityError(f"tensors {blocks.name} and {scales.name} do not fit together")
    return Mxfp4Tensor(name=name, blocks=blocks, scales=scales)
