"""What llama.cpp's library for images computes with a model and a projector."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import llama_cpp
import numpy as np
from llama_cpp import llama_cpp as api
from llama_cpp import mtmd_cpp as mtmd

from tests.convert.logits import native_log

if TYPE_CHECKING:
    from pathlib import Path

SIDE = 64


def seen(model: Path, projector: Path, width: int) -> np.ndarray[Any, np.dtype[Any]]:
    """Return the vectors of an image, shape (number of tokens, width)."""
    native_log.attach()
    params = api.llama_model_default_params()
    params.n_gpu_layers = 0
    text = llama_cpp.llama_model_load_from_file(str(model).encode(), params)
    assert text, native_log.last_complaint()
    options = mtmd.mtmd_context_params_default()
    options.use_gpu, options.n_threads, options.warmup = False, 1, False
    context = mtmd.mtmd_init_from_file(str(projector).encode(), text, options)
    assert context, native_log.last_complaint()
    try:
        return _encoded(context, width)
    finally:
        mtmd.mtmd_free(context)
        llama_cpp.llama_model_free(text)


def _encoded(context: Any, width: int) -> np.ndarray[Any, np.dtype[Any]]:
    pixels = np.random.default_rng(3).integers(0, 256, SIDE * SIDE * 3, dtype=np.uint8)
    data = (ctypes.c_uint8 * pixels.size).from_buffer_copy(pixels.tobytes())
    bitmap = mtmd.mtmd_bitmap_init(SIDE, SIDE, data)
    chunks, marker = mtmd.mtmd_input_chunks_init(), mtmd.mtmd_default_marker()
    text = mtmd.mtmd_input_text(marker, len(marker), False, True)  # noqa: FBT003 - C
    bitmaps = (mtmd.mtmd_bitmap_p_ctypes * 1)(bitmap)
    try:
        assert mtmd.mtmd_tokenize(context, chunks, ctypes.byref(text), bitmaps, 1) == 0
        found = [
            _vectors(context, mtmd.mtmd_input_chunks_get(chunks, number), width)
            for number in range(mtmd.mtmd_input_chunks_size(chunks))
        ]
        return np.concatenate([vectors for vectors in found if vectors is not None])
    finally:
        mtmd.mtmd_input_chunks_free(chunks)
        mtmd.mtmd_bitmap_free(bitmap)


def _vectors(context: Any, chunk: Any, width: int) -> np.ndarray[Any, np.dtype[Any]] | None:
    if mtmd.mtmd_input_chunk_get_type(chunk) == mtmd.MTMD_INPUT_CHUNK_TYPE_TEXT:
        return None
    assert mtmd.mtmd_encode_chunk(context, chunk) == 0
    count = mtmd.mtmd_input_chunk_get_n_tokens(chunk)
    return np.ctypeslib.as_array(mtmd.mtmd_get_output_embd(context), (count, width)).copy()
