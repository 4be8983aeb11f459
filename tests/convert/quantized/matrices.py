"""A tiny LLaMA, one matrix of which is stored in another way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gguf
import numpy as np

from tests.convert.oracle.checkpoints import weights

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.convert.writing import Array

HIDDEN, INNER = 64, 96
CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": HIDDEN,
    "intermediate_size": INNER, "num_hidden_layers": 1, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 300, "max_position_embeddings": 128,
    "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
}  # fmt: skip
LAYER = "model.layers.0"
NAME = f"{LAYER}.mlp.up_proj"
SHAPES = {
    "model.embed_tokens.weight": [300, HIDDEN],
    "lm_head.weight": [300, HIDDEN],
    "model.norm.weight": [HIDDEN],
    f"{LAYER}.input_layernorm.weight": [HIDDEN],
    f"{LAYER}.post_attention_layernorm.weight": [HIDDEN],
    f"{LAYER}.self_attn.q_proj.weight": [HIDDEN, HIDDEN],
    f"{LAYER}.self_attn.k_proj.weight": [HIDDEN // 2, HIDDEN],
    f"{LAYER}.self_attn.v_proj.weight": [HIDDEN // 2, HIDDEN],
    f"{LAYER}.self_attn.o_proj.weight": [HIDDEN, HIDDEN],
    f"{LAYER}.mlp.gate_proj.weight": [INNER, HIDDEN],
    f"{LAYER}.mlp.up_proj.weight": [INNER, HIDDEN],
    f"{LAYER}.mlp.down_proj.weight": [HIDDEN, INNER],
}


E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6], np.float32)


def nvfp4_values(weight: Array, scale: Array, common: Array) -> Array:
    """Return the values of a matrix in NVFP4 as the format defines them."""
    codes = np.stack([weight & 0x0F, weight >> 4], axis=-1).reshape(len(weight), -1)
    signed = np.where(codes & 8, -1, 1) * E2M1[codes & 7]
    bits = scale.astype(np.int32)
    exponent, fraction = (bits >> 3) & 0x0F, bits & 7
    scales = np.exp2(exponent - 7.0) * (1 + fraction / 8)
    found = signed * np.repeat(scales, 16, axis=1) * common
    return np.asarray(found, np.float32)


def model(stored: Mapping[str, Array], name: str = NAME) -> dict[str, Array]:
    """Return the weights of the model with the stored tensors in the place of a matrix."""
    plain = weights(SHAPES)
    del plain[f"{name}.weight"]
    return {**plain, **stored}


def tensor_of(path: Path, name: str) -> gguf.gguf_reader.ReaderTensor:
    """Return a tensor of a GGUF file."""
    return next(tensor for tensor in gguf.GGUFReader(path).tensors if tensor.name == name)
