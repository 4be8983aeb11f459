"""Numbers of tensors: widened to F32, resized on a square, or in ggml's order of MXFP4."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from gguf import GGMLQuantizationType
from gguf.quants import dequantize

from localrun.errors import IntegrityError
from localrun.gguf.data import TENSOR_TYPES
from localrun.translation.pieces import MXFP4, new_kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localrun.translation.pieces import NewTensor

Floats = np.ndarray[Any, np.dtype[np.float32]]
CHUNK_BYTES = 8 << 20
LARGEST_RESIZED = 1 << 26  # numbers: 64 million


def new_chunks(descriptor: int, tensor: NewTensor, read: Any) -> Iterator[bytes]:  # noqa: ANN401
    """Yield the data of a tensor: as it is, in F32, or in ggml's MXFP4.

    ``read(descriptor, offset, num_bytes)`` returns bytes of the file.

    Raises:
        IntegrityError: gguf decodes no such type.
    """
    if tensor.is_copied:
        yield from (content for _, content in _contents(descriptor, tensor, read))
        return
    if tensor.kind == MXFP4:
        for _, content in _contents(descriptor, tensor, read):
            yield regrouped(content)
        return
    plus = np.float32(tensor.plus)
    chunks = (floats(*each) + plus for each in _contents(descriptor, tensor, read))
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
    try:
        blocks = np.frombuffer(content, np.uint8).reshape(-1, TENSOR_TYPES[kind].num_bytes)
        decoded: Floats = dequantize(blocks, GGMLQuantizationType(kind))
    except (KeyError, NotImplementedError, ValueError) as error:
        name = TENSOR_TYPES[kind].name if kind in TENSOR_TYPES else str(kind)
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


def regrouped(content: bytes) -> bytes:
    """Return blocks of MXFP4 in ggml's order.

    A block is a scale and 16 bytes of two numbers each. In the file the numbers 2i and 2i + 1 are
    the low and the high half of byte i; in ggml numbers i and i + 16 are those.
    """
    blocks = np.frombuffer(content, np.uint8).reshape(-1, TENSOR_TYPES[MXFP4].num_bytes).copy()
    first, second = blocks[:, 1:9].copy(), blocks[:, 9:17].copy()
    blocks[:, 1::2] = (first & 0x0F) | (second << 4)
    blocks[:, 2::2] = (first >> 4) | (second & 0xF0)
    return blocks.tobytes()


def _contents(descriptor: int, tensor: NewTensor, read: Any) -> Iterator[tuple[int, bytes]]:  # noqa: ANN401
    """Yield the types and the bytes of parts of a tensor's pieces, several small ones together."""
    for block in tensor.blocks:
        unit = TENSOR_TYPES[new_kind(block.kind)].num_bytes
        longest = CHUNK_BYTES // unit * unit
        parts, size = [], 0
        for offset in block.offsets():
            for start in range(0, block.num_bytes, longest):
                parts.append(
                    read(descriptor, offset + start, min(longest, block.num_bytes - start))
                )
                size += len(parts[-1])
                if size >= longest:
                    yield block.kind, b"".join(parts)
                    parts, size = [], 0
        if parts:
            yield block.kind, b"".join(parts)
