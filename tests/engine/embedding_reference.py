"""Vectors computed apart: one input at a time, all tokens' vectors from llama.cpp, pooled here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import llama_cpp
import numpy as np
from gguf import GGUFReader
from llama_cpp import llama_cpp as api

from localrun.engine.batch import Batch
from localrun.engine.params import Pooling

if TYPE_CHECKING:
    from pathlib import Path

    from localrun.engine.llama.model import Model


def token_vectors(model: Model, tokens: list[int]) -> np.ndarray:
    """Return a vector for each token: shape (len(tokens), width)."""
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = params.n_batch = params.n_ubatch = max(64, len(tokens))
    params.n_threads = params.n_threads_batch = 1
    params.embeddings, params.pooling_type = True, api.LLAMA_POOLING_TYPE_NONE
    handle = llama_cpp.llama_init_from_model(model.handle, params)
    batch = Batch(len(tokens))
    batch.fill_inputs([tokens])
    assert llama_cpp.llama_decode(handle, batch.native) == 0
    rows = [llama_cpp.llama_get_embeddings_ith(handle, index) for index in range(len(tokens))]
    shape = (model.embedding_length,)
    found = np.stack([np.ctypeslib.as_array(row, shape=shape).copy() for row in rows])
    llama_cpp.llama_free(handle)
    return found


def pooled(vectors: np.ndarray, pooling: Pooling) -> np.ndarray:
    if pooling is Pooling.MEAN:
        return np.asarray(vectors.mean(axis=0))
    return np.asarray(vectors[0 if pooling is Pooling.CLS else -1])


def ranked(vectors: np.ndarray, path: Path) -> float:
    """Return the score of BERT's head: a dense layer on the first token, then one output."""
    found = {tensor.name: np.array(tensor.data) for tensor in GGUFReader(path).tensors}
    hidden = np.tanh(found["cls.weight"] @ vectors[0] + found["cls.bias"])
    return float((found["cls.output.weight"] @ hidden + found["cls.output.bias"])[0])


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))
