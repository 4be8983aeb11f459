"""Numbers of tensors as F32: of any type that gguf decodes, and resized on a square."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from gguf import GGMLQuantizationType
from gguf.quants import dequantize

from localrun.errors import IntegrityError
from localrun.gguf.data import TENSOR_TYPES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localrun.translation.pieces import NewTensor

Floats = np.ndarray[Any, np.dtype[np.float32]]
CHUNK_BYTES = 8 << 20
LARGEST_RESIZED = 1 << 26  # numbers: 64 million


def float_chunks(descriptor: int, tensor: NewTensor, read: Any) -> Iterator[bytes]:  # noqa: ANN401
    """Yield the data of a tensor in F32.

    ``read(descriptor, offset, num_bytes)`` returns bytes of the file.

    Raises:
        IntegrityError: gguf decodes no such type.
    """
    chunks = _chunks(descriptor, tensor, read)
    if tensor.side is None:
        yield from (chunk.tobytes() for chunk in chunks)
        return
    if sum(block.total_bytes for block in tensor.blocks) > LARGEST_RESIZED:
        raise IntegrityError(f"tensor {tensor.name} is too large to be resized")
    rows = np.concatenate(list(chunks)).reshape(-1, tensor.sizes[0])
    yield resized(rows, tensor.side).tobytes()


def floats(kind: int, content: bytes) -> Floats:
    """Return numbers of a type of ggml as F32.

    Raises:
        IntegrityError: gguf decodes no such type.
    """
    if kind == GGMLQuantizationType.F32:
        return np.frombuffer(content, np.float32)
    if kind == GGMLQuantizationType.F16:
        return np.frombuffer(content, np.float16).astype(np.float32)
    block = TENSOR_TYPES[kind].num_bytes
    try:
        blocks = np.frombuffer(content, np.uint8).reshape(-1, block)
        decoded: Floats = dequantize(blocks, GGMLQuantizationType(kind))
    except (NotImplementedError, ValueError) as error:
        name = TENSOR_TYPES[kind].name
        raise IntegrityError(f"numbers of the type {name} cannot be translated") from error
    return decoded.reshape(-1)


def resized(rows: Floats, side: int) -> Floats:
    """Return the rows of a square of another size, interpolated between the four nearest.

    ``rows`` has the shape (old side * old side, columns). The corners stay where they are.
    """
    old_side, columns = math.isqrt(len(rows)), rows.shape[1]
    grid = rows.reshape(old_side, old_side, columns)
    places = np.linspace(0, old_side - 1, side) if side > 1 else np.zeros(1)
    low = np.floor(places).astype(np.int64)
    high = np.minimum(low + 1, old_side - 1)
    share: Floats = (places - low).astype(np.float32)
    down, across = share.reshape(side, 1, 1), share.reshape(1, side, 1)
    lines: Floats = grid[low] * (1 - down) + grid[high] * down
    made: Floats = lines[:, low] * (1 - across) + lines[:, high] * across
    return made.reshape(side * side, columns)


def _chunks(descriptor: int, tensor: NewTensor, read: Any) -> Iterator[Floats]:  # noqa: ANN401
    for block in tensor.blocks:
        unit = TENSOR_TYPES[block.kind].num_bytes
        longest = CHUNK_BYTES // unit * unit
        for offset in block.offsets():
            for start in range(0, block.num_bytes, longest):
                size = min(longest, block.num_bytes - start)
                chunk = floats(block.kind, read(descriptor, offset + start, size))
                yield chunk + np.float32(tensor.plus) if tensor.plus else chunk
