"""A tiny LLaMA of random weights in the form of Hugging Face, and adapters for it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.convert.writing import write_tensors

if TYPE_CHECKING:
    from collections.abc import Mapping

Array = np.ndarray[Any, np.dtype[Any]]
TOKENIZER = Path(__file__).parents[2] / "scripts" / "guide" / "tokenizer.json"
HIDDEN, HEADS, KV_HEADS, INNER, VOCABULARY, LAYERS = 64, 4, 2, 96, 4096, 2
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": HIDDEN,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV_HEADS,
    "intermediate_size": INNER,
    "vocab_size": VOCABULARY,
    "num_hidden_layers": LAYERS,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "bos_token_id": 0,
    "eos_token_id": 1,
}
KV = HIDDEN * KV_HEADS // HEADS
BLOCK = {
    "self_attn.q_proj": (HIDDEN, HIDDEN),
    "self_attn.k_proj": (KV, HIDDEN),
    "self_attn.v_proj": (KV, HIDDEN),
    "self_attn.o_proj": (HIDDEN, HIDDEN),
    "mlp.gate_proj": (INNER, HIDDEN),
    "mlp.up_proj": (INNER, HIDDEN),
    "mlp.down_proj": (HIDDEN, INNER),
}
SHAPES = {
    "model.embed_tokens": (VOCABULARY, HIDDEN),
    "lm_head": (VOCABULARY, HIDDEN),
    **{f"model.layers.{i}.{name}": size for i in range(LAYERS) for name, size in BLOCK.items()},
}


def random_weights(seed: int = 1) -> dict[str, Array]:
    """Return the matrix of every module in `SHAPES`."""
    rng = np.random.default_rng(seed)
    return {
        name: (rng.standard_normal(shape) / shape[1] ** 0.5).astype(np.float32)
        for name, shape in SHAPES.items()
    }


def write_model(folder: Path, weights: Mapping[str, Array], *, is_tied: bool = False) -> Path:
    folder.mkdir()
    shutil.copy(TOKENIZER, folder)
    (folder / "config.json").write_text(json.dumps({**CONFIG, "tie_word_embeddings": is_tied}))
    norms = [
        f"model.layers.{i}.{part}_layernorm"
        for i in range(LAYERS)
        for part in ("input", "post_attention")
    ]
    ones = {f"{name}.weight": np.ones(HIDDEN, np.float32) for name in (*norms, "model.norm")}
    matrices = {f"{name}.weight": matrix for name, matrix in weights.items()}
    if is_tied:
        del matrices["lm_head.weight"]
    write_tensors(folder / "model.safetensors", {**matrices, **ones})
    return folder


def random_pairs(modules: Mapping[str, int], seed: int = 2) -> dict[str, tuple[Array, Array]]:
    """Return A and B for modules, given their ranks."""
    rng = np.random.default_rng(seed)
    return {
        name: (
            rng.standard_normal((rank, SHAPES[name][1])).astype(np.float32) / 8,
            rng.standard_normal((SHAPES[name][0], rank)).astype(np.float32) / 8,
        )
        for name, rank in modules.items()
    }


def adapter_tensors(pairs: Mapping[str, tuple[Array, Array]]) -> dict[str, Array]:
    """Return the pairs under PEFT's names; embeddings are adapted the other way round."""
    tensors: dict[str, Array] = {}
    for name, (a, b) in pairs.items():
        start = f"base_model.model.{name}.lora_"
        if name.endswith("embed_tokens"):
            tensors |= {f"{start}embedding_A": b.T.copy(), f"{start}embedding_B": a.T.copy()}
        else:
            tensors |= {f"{start}A.weight": a, f"{start}B.weight": b}
    return tensors


def write_adapter(folder: Path, tensors: Mapping[str, Array], **config: object) -> Path:
    folder.mkdir()
    write_tensors(folder / "adapter_model.safetensors", tensors)
    settings = {"peft_type": "LORA", "base_model_name_or_path": "tiny", **config}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    return folder
