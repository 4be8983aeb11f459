"""Load a file by llama.cpp and compute with it."""

from __future__ import annotations

import ctypes
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import llama_cpp
import numpy as np

from localrun.engine.llama.library import start
from localrun.engine.llama.model import Model, load_model

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tests.convert.writing import Array

NUM_CONTEXT = 512
_LOG = start()


@contextmanager
def loaded(path: Path) -> Iterator[Model]:
    model = load_model([path], native_log=_LOG, num_gpu_layers=0, on_progress=lambda _: None)
    try:
        yield model
    finally:
        model.close()


def logits(model: Model, tokens: Sequence[int]) -> Array:
    """Return the logits after every token: float32, shape (len(tokens), num_vocab)."""
    with _context(model) as context:
        _decode(context, tokens)
        rows = [llama_cpp.llama_get_logits_ith(context, i) for i in range(len(tokens))]
        return np.stack([_copied(row, model.num_vocab) for row in rows])


def embedding(model: Model, tokens: Sequence[int]) -> Array:
    """Return the pooled and normalised embedding of a text."""
    with _context(model, embeddings=True) as context:
        _decode(context, tokens)
        size = llama_cpp.llama_model_n_embd(model.handle)
        found = _copied(llama_cpp.llama_get_embeddings_seq(context, 0), size)
        norm = float(np.linalg.norm(found))
        return np.divide(found, norm)


def _copied(pointer: Any, size: int) -> Array:
    return np.ctypeslib.as_array(pointer, shape=(size,)).copy()


@contextmanager
def _context(model: Model, *, embeddings: bool = False) -> Iterator[Any]:
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = params.n_batch = params.n_ubatch = NUM_CONTEXT
    params.n_threads = params.n_threads_batch = 1
    params.n_outputs_max = NUM_CONTEXT
    params.embeddings = embeddings
    params.type_k = params.type_v = 0  # F32
    params.flash_attn_type = 0
    context = llama_cpp.llama_init_from_model(model.handle, params)
    assert context
    try:
        yield context
    finally:
        llama_cpp.llama_free(context)


def _decode(context: Any, tokens: Sequence[int]) -> None:
    batch = llama_cpp.llama_batch_init(len(tokens), 0, 1)
    batch.n_tokens = len(tokens)
    for index, token in enumerate(tokens):
        batch.token[index], batch.pos[index] = token, index
        batch.n_seq_id[index], batch.logits[index] = 1, 1
        batch.seq_id[index][0] = ctypes.c_int32(0)
    assert llama_cpp.llama_decode(context, batch) == 0
    llama_cpp.llama_batch_free(batch)
