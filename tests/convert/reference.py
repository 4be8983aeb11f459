"""What the families compute, in numpy, from tensors and settings as Hugging Face has them.

Written from the models' papers and configurations, not from the converter: the two
know nothing of each other.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Settings = dict[str, Any]
Array = Any  # what numpy's operators return for arrays of any type


class Decoder:
    """A decoder; ``inner`` is the prefix of its tensors."""

    def __init__(self, tensors: Mapping[str, Array], settings: Settings) -> None:
        self.tensors = tensors
        self.settings = settings
        self.is_gemma = settings["model_type"].startswith("gemma")
        self.heads = settings["num_attention_heads"]
        self.kv_heads = settings["num_key_value_heads"]
        self.head = settings.get("head_dim") or settings["hidden_size"] // self.heads
        self.num_layers = settings["num_hidden_layers"]

    def logits(self, tokens: Sequence[int]) -> Array:
        table = self.tensors["model.embed_tokens.weight"]
        x = table[list(tokens)]
        if self.is_gemma:
            x = x * math.sqrt(self.settings["hidden_size"])
        for index in range(self.num_layers):
            x = self._layer(x, index)
        x = self._norm(x, "model.norm")
        found = x @ self.tensors.get("lm_head.weight", table).T
        return _capped(found, self.settings.get("final_logit_softcapping"))

    def _layer(self, x: Array, index: int) -> Array:
        name = f"model.layers.{index}"
        attended = self._attention(self._norm(x, f"{name}.input_layernorm"), index)
        if self.is_gemma:
            x = x + self._norm(attended, f"{name}.post_attention_layernorm")
            fed = self._feed(self._norm(x, f"{name}.pre_feedforward_layernorm"), name)
            return x + self._norm(fed, f"{name}.post_feedforward_layernorm")
        x = x + attended
        return x + self._feed(self._norm(x, f"{name}.post_attention_layernorm"), name)

    def _norm(self, x: Array, name: str) -> Array:
        weight = self.tensors[f"{name}.weight"] + (1.0 if self.is_gemma else 0.0)
        scale = np.sqrt((x * x).mean(-1, keepdims=True) + self.settings["rms_norm_eps"])
        return x / scale * weight

    def _attention(self, x: Array, index: int) -> Array:
        name = f"model.layers.{index}.self_attn"
        q, k, v = self._queries_keys_values(x, name)
        if f"{name}.q_norm.weight" in self.tensors:
            q, k = self._norm(q, f"{name}.q_norm"), self._norm(k, f"{name}.k_norm")
        is_local = self._is_local(index)
        q, k = (self._rotated(each, is_local=is_local) for each in (q, k))
        k, v = (np.repeat(each, self.heads // self.kv_heads, axis=1) for each in (k, v))
        size = self.settings["query_pre_attn_scalar"] if self.is_gemma else self.head
        scale = float(size) ** -0.5
        scores = np.einsum("ihd,jhd->hij", q, k) * scale
        scores = _capped(scores, self.settings.get("attn_logit_softcapping"))
        distance = np.arange(len(x))[:, None] - np.arange(len(x))[None, :]
        hidden = distance < 0
        if is_local:
            hidden |= distance >= self.settings["sliding_window"]
        weights = _softmax(np.where(hidden, -np.inf, scores))
        mixed = np.einsum("hij,jhd->ihd", weights, v).reshape(len(x), -1)
        return self._linear(mixed, f"{name}.o_proj")

    def _queries_keys_values(self, x: Array, name: str) -> tuple[Array, Array, Array]:
        if f"{name}.qkv_proj.weight" in self.tensors:
            merged = self._linear(x, f"{name}.qkv_proj")
            ends = [self.heads * self.head, (self.heads + self.kv_heads) * self.head]
            parts = np.split(merged, ends, axis=1)
        else:
            parts = [self._linear(x, f"{name}.{part}_proj") for part in "qkv"]
        q, k, v = (part.reshape(len(x), -1, self.head) for part in parts)
        return q, k, v

    def _feed(self, x: Array, name: str) -> Array:
        if f"{name}.mlp.gate_up_proj.weight" in self.tensors:
            gate, up = np.split(self._linear(x, f"{name}.mlp.gate_up_proj"), 2, axis=1)
        else:
            gate = self._linear(x, f"{name}.mlp.gate_proj")
            up = self._linear(x, f"{name}.mlp.up_proj")
        act: Callable[[Array], Array] = _gelu_tanh if self.is_gemma else _silu
        return self._linear(act(gate) * up, f"{name}.mlp.down_proj")

    def _linear(self, x: Array, name: str) -> Array:
        return x @ self.tensors[f"{name}.weight"].T + self.tensors.get(f"{name}.bias", 0.0)

    def _is_local(self, index: int) -> bool:
        kinds = self.settings.get("layer_types")
        return bool(self.is_gemma and kinds and kinds[index] == "sliding_attention")

    def _rotated(self, x: Array, *, is_local: bool) -> Array:
        frequencies, gain = self._frequencies(is_local=is_local)
        num_rotated = 2 * len(frequencies)
        angles = np.arange(len(x))[:, None, None] * frequencies
        cos, sin = (np.tile(f(angles), 2) * gain for f in (np.cos, np.sin))
        turned, rest = x[..., :num_rotated], x[..., num_rotated:]
        left, right = np.split(turned, 2, axis=-1)
        swapped = np.concatenate([-right, left], axis=-1)
        return np.concatenate([turned * cos + swapped * sin, rest], axis=-1)

    def _frequencies(self, *, is_local: bool) -> tuple[Array, float]:
        settings = self.settings
        num_rotated = int(self.head * settings.get("partial_rotary_factor", 1.0))
        base = settings["rope_local_base_freq" if "gemma3" in settings["model_type"] and is_local
                        else "rope_theta"]  # fmt: skip
        frequencies = base ** -(np.arange(0, num_rotated, 2) / num_rotated)
        scaling = settings.get("rope_scaling")
        if not scaling or is_local:
            return frequencies, 1.0
        if scaling["rope_type"] == "linear":
            return frequencies / scaling["factor"], 1.0
        if scaling["rope_type"] == "llama3":
            return np.array([_llama3(f, scaling) for f in frequencies]), 1.0
        assert scaling["rope_type"] == "longrope"
        original = settings["original_max_position_embeddings"]
        stretch = settings["max_position_embeddings"] / original
        gain = math.sqrt(1 + math.log(stretch) / math.log(original))
        return frequencies / np.array(scaling["short_factor"]), gain


def encoded(tensors: Mapping[str, Array], settings: Settings, tokens: Sequence[int]) -> Array:
    """Return the normalised mean of what BERT computes."""
    first = settings.get("first_position", 0)
    x = (
        tensors["embeddings.word_embeddings.weight"][list(tokens)]
        + tensors["embeddings.position_embeddings.weight"][first : first + len(tokens)]
        + tensors["embeddings.token_type_embeddings.weight"][0]
    )
    epsilon = settings["layer_norm_eps"]
    x = _layer_norm(x, tensors, "embeddings.LayerNorm", epsilon)
    heads = settings["num_attention_heads"]
    for index in range(settings["num_hidden_layers"]):
        name = f"encoder.layer.{index}"
        q, k, v = (
            _affine(x, tensors, f"{name}.attention.self.{part}").reshape(len(x), heads, -1)
            for part in ("query", "key", "value")
        )
        weights = _softmax(np.einsum("ihd,jhd->hij", q, k) / math.sqrt(q.shape[-1]))
        mixed = np.einsum("hij,jhd->ihd", weights, v).reshape(len(x), -1)
        out = x + _affine(mixed, tensors, f"{name}.attention.output.dense")
        x = _layer_norm(out, tensors, f"{name}.attention.output.LayerNorm", epsilon)
        wide = _gelu(_affine(x, tensors, f"{name}.intermediate.dense"))
        out = x + _affine(wide, tensors, f"{name}.output.dense")
        x = _layer_norm(out, tensors, f"{name}.output.LayerNorm", epsilon)
    mean: Array = x.mean(0)
    return mean / np.linalg.norm(mean)


def _affine(x: Array, tensors: Mapping[str, Array], name: str) -> Array:
    return x @ tensors[f"{name}.weight"].T + tensors[f"{name}.bias"]


def _layer_norm(x: Array, tensors: Mapping[str, Array], name: str, epsilon: float) -> Array:
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred * centred).mean(-1, keepdims=True) + epsilon)
    return scaled * tensors[f"{name}.weight"] + tensors[f"{name}.bias"]


def _llama3(frequency: float, scaling: Settings) -> float:
    wavelength = 2 * math.pi / frequency
    original = scaling["original_max_position_embeddings"]
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    if wavelength < original / high:
        return frequency
    if wavelength > original / low:
        return float(frequency / scaling["factor"])
    smooth = (original / wavelength - low) / (high - low)
    return float((1 - smooth) * frequency / scaling["factor"] + smooth * frequency)


def _capped(x: Array, cap: float | None) -> Array:
    return x if cap is None else np.tanh(x / cap) * cap


def _softmax(x: Array) -> Array:
    raised = np.exp(x - x.max(-1, keepdims=True))
    return raised / raised.sum(-1, keepdims=True)


def _silu(x: Array) -> Array:
    return x / (1 + np.exp(-x))


def _gelu_tanh(x: Array) -> Array:
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def _gelu(x: Array) -> Array:
    return 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))
