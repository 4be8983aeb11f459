"""What llama.cpp computes with a file: logits, or the vector of an encoder."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import llama_cpp
import numpy as np
from llama_cpp import llama_cpp as api

from localrun.gguf.header import read_header
from localrun.gguf.role import ENCODERS
from tests.convert.logits import logits, native_log

if TYPE_CHECKING:
    from pathlib import Path

Array = np.ndarray[Any, np.dtype[Any]]
TOKENS = [1, 5, 9, 200, 31, 77]


def computed(path: Path, tokens: list[int] = TOKENS) -> Array:
    """Return the logits after the last token, or the vector of all tokens."""
    if read_header(path).architecture in ENCODERS:
        return _vector(path, tokens)
    return logits(path, None, tokens)


def _vector(path: Path, tokens: list[int]) -> Array:
    native_log.attach()
    params = api.llama_model_default_params()
    params.n_gpu_layers = 0
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), params)
    assert model, native_log.last_complaint()
    shape = api.llama_context_default_params()
    shape.n_ctx, shape.n_threads, shape.n_threads_batch, shape.embeddings = 64, 1, 1, True
    context = llama_cpp.llama_init_from_model(model, shape)
    try:
        batch = (ctypes.c_int32 * len(tokens))(*tokens)
        assert llama_cpp.llama_encode(context, api.llama_batch_get_one(batch, len(tokens))) == 0
        size = llama_cpp.llama_model_n_embd(model)
        return np.ctypeslib.as_array(llama_cpp.llama_get_embeddings_seq(context, 0), (size,)).copy()
    finally:
        llama_cpp.llama_free(context)
        llama_cpp.llama_model_free(model)
