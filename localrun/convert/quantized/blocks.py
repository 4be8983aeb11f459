"""Block types of GGUF that sources become without another rounding of their values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from localrun.convert.safetensors import Array

# values and bytes of a block
BLOCKS = {
    "MXFP4": (32, 17),
    "NVFP4": (64, 36),
    "Q4_0": (32, 18),
    "Q4_1": (32, 20),
    "Q8_0": (32, 34),
}
GROUP = 32
HALF = GROUP // 2


def nibbles(values: Array) -> Array:
    """Return four-bit values as bytes: in each block, value j beside the one half a block on."""
    by_block = values.reshape(*values.shape[:-1], -1, GROUP)
    packed: Array = by_block[..., :HALF] | (by_block[..., HALF:] << 4)
    return packed


def unpacked(words: Array, num_bits: int) -> Array:
    """Return the unsigned values that follow each other in the bits of little-endian words.

    ``words`` has the shape (rows, words); the values have (rows, values).
    """
    data = np.ascontiguousarray(words).view(np.uint8)
    if num_bits == 8:  # noqa: PLR2004 - a byte
        return data
    if num_bits == 4:  # noqa: PLR2004 - half a byte
        return np.stack([data & 0x0F, data >> 4], axis=-1).reshape(len(data), -1)
    bits = np.unpackbits(data, axis=1, bitorder="little").reshape(len(data), -1, num_bits)
    values: Array = (bits << np.arange(num_bits, dtype=np.uint8)).sum(-1, dtype=np.uint8)
    return values
