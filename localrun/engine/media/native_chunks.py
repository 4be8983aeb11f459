"""libmtmd's chunks and bitmaps as Python objects that free themselves.

A `NativeChunk` is a copy that lives alone: libmtmd's list of chunks dies with the call.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Self

import numpy as np
from llama_cpp import mtmd_cpp as mtmd

from localrun.engine.media.chunk import ChunkShape
from localrun.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Iterator

ROWS = 4  # positions of a token in models with M-RoPE: t, y, x, z


class NativeChunk:
    """An image or audio chunk with its pixels or samples."""

    def __init__(self, borrowed: int) -> None:
        """Copy a chunk that libmtmd's list owns."""
        self.handle = mtmd.mtmd_input_chunk_copy(borrowed)
        if not self.handle:
            raise BackendError("libmtmd has no memory for a chunk of an image or a sound")

    def __del__(self) -> None:
        if getattr(self, "handle", None):
            mtmd.mtmd_input_chunk_free(self.handle)
            self.handle = None


def image_bitmap(pixels: np.ndarray) -> int:
    """Return a bitmap of pixels, uint8 of shape (height, width, 3); it is freed by the caller."""
    data = np.ascontiguousarray(pixels, dtype=np.uint8)
    pointer = data.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
    return _made(mtmd.mtmd_bitmap_init(data.shape[1], data.shape[0], pointer))


def blank_bitmap(width: int, height: int) -> int:
    """Return a bitmap without pixels, from which tokens are counted only."""
    return _made(mtmd.mtmd_bitmap_init(width, height, None))


def audio_bitmap(samples: np.ndarray) -> int:
    """Return a bitmap of mono samples, float32 of shape (num_samples,)."""
    data = np.ascontiguousarray(samples, dtype=np.float32)
    pointer = data.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
    return _made(mtmd.mtmd_bitmap_init_from_audio(len(data), pointer))


class ChunkList:
    """libmtmd's list of chunks, open for the time of a ``with`` block."""

    def __enter__(self) -> Self:
        self.handle = mtmd.mtmd_input_chunks_init()
        return self

    def __exit__(self, *_: object) -> None:
        mtmd.mtmd_input_chunks_free(self.handle)

    def __iter__(self) -> Iterator[int]:
        size = mtmd.mtmd_input_chunks_size(self.handle)
        return (mtmd.mtmd_input_chunks_get(self.handle, index) for index in range(size))


def text_tokens(chunk: int) -> tuple[int, ...] | None:
    """Return the tokens of a text chunk, None for a chunk of another kind."""
    if mtmd.mtmd_input_chunk_get_type(chunk) != mtmd.MTMD_INPUT_CHUNK_TYPE_TEXT:
        return None
    count = ctypes.c_size_t()
    tokens = mtmd.mtmd_input_chunk_get_tokens_text(chunk, ctypes.byref(count))
    return tuple(tokens[: count.value]) if tokens else ()


def shape_of(chunk: int, *, is_causal: bool, has_mrope: bool) -> ChunkShape:
    """Return the shape of a media chunk."""
    num_tokens = mtmd.mtmd_input_chunk_get_n_tokens(chunk)
    moves: tuple[bool, ...] = (True,)
    if not has_mrope:
        offsets = np.arange(num_tokens, dtype=np.int32)[None]
    elif mtmd.mtmd_input_chunk_get_type(chunk) == mtmd.MTMD_INPUT_CHUNK_TYPE_AUDIO:
        line = np.arange(num_tokens, dtype=np.int32)
        offsets, moves = np.stack([line, line, line, np.zeros_like(line)]), (True,) * 3 + (False,)
    else:
        offsets = _grid(chunk, 0, num_tokens)
        shifted = _grid(chunk, 1, num_tokens)
        moves = tuple(bool(row) for row in (shifted - offsets).any(axis=1))
    return ChunkShape(
        num_tokens=num_tokens,
        num_positions=mtmd.mtmd_input_chunk_get_n_pos(chunk),
        is_causal=is_causal,
        offsets=offsets,
        moves=moves,
    )


def _grid(chunk: int, first: int, num_tokens: int) -> np.ndarray:
    """Return the positions of an image's tokens at ``first``, shape (4, num_tokens)."""
    image = mtmd.mtmd_input_chunk_get_tokens_image(chunk)
    out = (mtmd.mtmd_decoder_pos * num_tokens)()
    mtmd.mtmd_helper_image_get_decoder_pos(image, first, out)
    flat = np.frombuffer(out, dtype=np.uint32).reshape(num_tokens, ROWS).astype(np.int32)
    return np.ascontiguousarray(flat.T[[0, 2, 1, 3]])  # libmtmd's order is t, x, y, z


def _made(bitmap: int | None) -> int:
    if not bitmap:
        raise BackendError("libmtmd has no memory for an image or a sound")
    return bitmap
