"""Make tiny random models in the form of Hugging Face: settings, tensors, tokenizer."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from localrun.convert.tokenizer.splitting import QWEN2
from tests.convert.writing import write_tensors

if TYPE_CHECKING:
    from pathlib import Path

    from tests.convert.writing import Array

NUM_TOKENS = 300
SIZES = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": NUM_TOKENS,
    "max_position_embeddings": 128,
}
SWA = ["sliding_attention", "full_attention"]
GEMMA = {
    "head_dim": 32,
    "query_pre_attn_scalar": 32,
    "hidden_activation": "gelu_pytorch_tanh",
    "sliding_window": 4,
    "tie_word_embeddings": True,
}
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}


@dataclass(frozen=True, slots=True)
class Tiny:
    """A model before it is written; the settings are those of the language model."""

    settings: dict[str, Any]
    tensors: dict[str, Array] = field(default_factory=dict)

    def write(self, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(self.settings))
        write_tensors(folder / "model.safetensors", self.tensors)
        (folder / "tokenizer.json").write_text(json.dumps(byte_tokenizer()))
        return folder


def decoder(model_type: str, architecture: str, **changes: Any) -> Tiny:
    """Return a decoder of a family, with these settings instead of the usual ones."""
    settings: dict[str, Any] = {
        "architectures": [architecture],
        "model_type": model_type,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10_000.0,
        "tie_word_embeddings": False,
        **SIZES,
    }
    settings |= changes
    return Tiny(settings, _decoder_tensors(settings))


def encoder(architecture: str, **changes: Any) -> Tiny:
    settings: dict[str, Any] = {
        "architectures": [architecture],
        "model_type": "bert",
        "layer_norm_eps": 1e-12,
        "type_vocab_size": 2,
        "hidden_act": "gelu",
        **SIZES,
        **changes,
    }
    return Tiny(settings, _encoder_tensors(settings))


def _decoder_tensors(settings: dict[str, Any]) -> dict[str, Array]:
    rng = np.random.default_rng(7)
    hidden = settings["hidden_size"]
    found: dict[str, Array] = {"model.embed_tokens.weight": _matrix(rng, NUM_TOKENS, hidden)}
    for index in range(settings["num_hidden_layers"]):
        name = f"model.layers.{index}"
        for part, (rows, columns) in _matrices(settings).items():
            found[f"{name}.{part}.weight"] = _matrix(rng, rows, columns)
        for part, size in (_biases(settings) | _norms(settings)).items():
            found[f"{name}.{part}"] = _vector(rng, size)
    found["model.norm.weight"] = _vector(rng, hidden)
    if not settings["tie_word_embeddings"]:
        found["lm_head.weight"] = _matrix(rng, NUM_TOKENS, hidden)
    return found


def _matrices(settings: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """Return the shapes of a layer's matrices by name."""
    hidden, wide = settings["hidden_size"], settings["intermediate_size"]
    heads, kv_heads = settings["num_attention_heads"], settings["num_key_value_heads"]
    head = settings.get("head_dim") or hidden // heads
    rows = {"self_attn.q_proj": heads * head}
    rows |= {f"self_attn.{part}_proj": kv_heads * head for part in "kv"}
    rows |= {"mlp.gate_proj": wide, "mlp.up_proj": wide}
    if settings["model_type"] == "phi3":
        merged = (heads + 2 * kv_heads) * head
        rows = {"self_attn.qkv_proj": merged, "mlp.gate_up_proj": 2 * wide}
    shapes = {name: (size, hidden) for name, size in rows.items()}
    return shapes | {"self_attn.o_proj": (hidden, heads * head), "mlp.down_proj": (hidden, wide)}


def _biases(settings: dict[str, Any]) -> dict[str, int]:
    if settings["model_type"] != "qwen2" and not settings.get("attention_bias"):
        return {}
    matrices = _matrices(settings)
    return {f"self_attn.{part}_proj.bias": matrices[f"self_attn.{part}_proj"][0] for part in "qkv"}


def _norms(settings: dict[str, Any]) -> dict[str, int]:
    kind = settings["model_type"]
    names = ["input_layernorm", "post_attention_layernorm"]
    if kind.startswith("gemma"):
        names += ["pre_feedforward_layernorm", "post_feedforward_layernorm"]
    sizes = {f"{name}.weight": settings["hidden_size"] for name in names}
    if kind in {"qwen3", "gemma3_text"}:
        sizes |= {f"self_attn.{part}_norm.weight": settings["head_dim"] for part in "qk"}
    return sizes


def _encoder_tensors(settings: dict[str, Any]) -> dict[str, Array]:
    rng = np.random.default_rng(7)
    hidden, wide = settings["hidden_size"], settings["intermediate_size"]
    positions, types = settings["max_position_embeddings"], settings["type_vocab_size"]
    found: dict[str, Array] = {
        "embeddings.position_ids": np.arange(positions)[None],
        "embeddings.word_embeddings.weight": _matrix(rng, NUM_TOKENS, hidden),
        "embeddings.position_embeddings.weight": _matrix(rng, positions, hidden),
        "embeddings.token_type_embeddings.weight": _matrix(rng, types, hidden),
        "pooler.dense.weight": _matrix(rng, hidden, hidden),
        "pooler.dense.bias": _vector(rng, hidden),
    }
    shapes = {
        f"attention.{part}": (hidden, hidden)
        for part in ("self.query", "self.key", "self.value", "output.dense")
    }
    shapes |= {"intermediate.dense": (wide, hidden), "output.dense": (hidden, wide)}
    norms = ["embeddings.LayerNorm"]
    for index in range(settings["num_hidden_layers"]):
        name = f"encoder.layer.{index}"
        for part, (rows, columns) in shapes.items():
            found[f"{name}.{part}.weight"] = _matrix(rng, rows, columns)
            found[f"{name}.{part}.bias"] = _vector(rng, rows)
        norms += [f"{name}.attention.output.LayerNorm", f"{name}.output.LayerNorm"]
    for norm in norms:
        found[f"{norm}.weight"] = _vector(rng, hidden)
        found[f"{norm}.bias"] = _vector(rng, hidden)
    return found


def _matrix(rng: np.random.Generator, rows: int, columns: int) -> Array:
    return _coarse(rng.normal(size=(rows, columns)) * columns**-0.5)


def _vector(rng: np.random.Generator, size: int) -> Array:
    return _coarse(1 + rng.normal(size=size) * 0.2)


def _coarse(values: Array) -> Array:
    """Return values that BF16 can hold."""
    bits = values.astype(np.float32).view(np.uint32) & np.uint32(0xFFFF0000)
    return bits.view(np.float32)


def byte_letters() -> list[str]:
    """Return the letter for every byte, as GPT-2 writes them."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(rest)) for byte in range(256)]


def byte_tokenizer() -> dict[str, Any]:
    """Return a byte-level tokenizer.json with two merges and three added tokens."""
    texts = [*byte_letters(), "he", "hel"]
    added = [("<|end|>", True), ("<|start|>", True), ("<think>", False)]
    return {
        "model": {
            "type": "BPE",
            "vocab": {text: index for index, text in enumerate(texts)},
            "merges": ["h e", ["he", "l"]],
        },
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": QWEN2}, "behavior": "Isolated"},
                {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False},
            ],
        },
        "added_tokens": [
            {"id": len(texts) + index, "content": text, "special": is_special}
            for index, (text, is_special) in enumerate(added)
        ],
    }
