"""What llama.cpp computes with a model and an adapter."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import llama_cpp
import numpy as np
from llama_cpp import llama_cpp as api

from localrun.engine.llama.library import start

if TYPE_CHECKING:
    from pathlib import Path

Array = np.ndarray[Any, np.dtype[Any]]
native_log = start()


def logits(model: Path, adapter: Path | None, tokens: list[int]) -> Array:
    """Return the logits after the last token; an adapter that does not load is an error."""
    native_log.attach()
    params = api.llama_model_default_params()
    params.n_gpu_layers = 0
    loaded = llama_cpp.llama_model_load_from_file(str(model).encode(), params)
    assert loaded, native_log.last_complaint()
    shape = api.llama_context_default_params()
    shape.n_ctx, shape.n_threads, shape.n_threads_batch = 64, 1, 1
    shape.type_k = shape.type_v = 0  # F32
    shape.flash_attn_type = 0  # off
    context = llama_cpp.llama_init_from_model(loaded, shape)
    try:
        if adapter is not None:
            _apply(loaded, context, adapter)
        batch = (ctypes.c_int32 * len(tokens))(*tokens)
        assert llama_cpp.llama_decode(context, api.llama_batch_get_one(batch, len(tokens))) == 0
        size = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(loaded))
        return np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(context, -1), (size,)).copy()
    finally:
        llama_cpp.llama_free(context)
        llama_cpp.llama_model_free(loaded)


def _apply(model: Any, context: Any, path: Path) -> None:
    adapter = llama_cpp.llama_adapter_lora_init(model, str(path).encode())
    assert adapter, native_log.last_complaint()
    adapters = (api.llama_adapter_lora_p_ctypes * 1)(adapter)
    scales = (ctypes.c_float * 1)(1.0)
    assert llama_cpp.llama_set_adapters_lora(context, adapters, 1, scales) == 0
