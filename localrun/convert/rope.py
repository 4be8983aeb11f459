"""Rotary position embeddings (RoPE): from ``config.json`` to GGUF keys and tensors.

Older files have ``rope_theta`` and ``rope_scaling``. Newer files have both in
``rope_parameters``, which has an object for each kind of layer of Gemma 3. Scaling that llama.cpp
cannot compute is refused: the model would load and write nonsense.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from localrun.errors import UsageError

if TYPE_CHECKING:
    import gguf

    from localrun.convert.config import Config
    from localrun.convert.safetensors import Array

THETA = 10_000.0
UNSCALED = ("default", "dynamic", "mrope")  # dynamic has no effect within the trained context


@dataclass(frozen=True, slots=True, kw_only=True)
class Rope:
    """RoPE of one kind of layer; ``num_rotated`` dimensions of each head are rotated."""

    theta: float
    scaling: Config
    num_rotated: int
    context: int


def read_rope(config: Config, head_size: int) -> Rope:
    """Return the RoPE of a model: of its full-attention layers if it has two kinds."""
    parameters = config.inner("rope_parameters")
    if parameters.has("full_attention"):
        parameters = parameters.inner("full_attention")
    scaling = parameters if parameters.values else config.inner("rope_scaling")
    theta = parameters.number("rope_theta", config.number("rope_theta", THETA))
    share = parameters.number("partial_rotary_factor", config.number("partial_rotary_factor", 1.0))
    if theta <= 0 or not 0 < share <= 1:
        raise UsageError(f"{config.where}: rope_theta or partial_rotary_factor is out of range")
    return Rope(
        theta=theta,
        scaling=scaling,
        num_rotated=int(head_size * share),
        context=config.count("max_position_embeddings"),
    )


def local_theta(config: Config) -> float:
    """Return the base frequency of Gemma 3's sliding-window layers."""
    parameters = config.inner("rope_parameters").inner("sliding_attention")
    if parameters.has("rope_theta"):
        return parameters.number("rope_theta")
    return config.number("rope_local_base_freq")


def describe_rope(
    writer: gguf.GGUFWriter, rope: Rope, config: Config, *, scales: bool = False
) -> dict[str, Array]:
    """Write the keys; return the tensors of the scaling factors, by GGUF name.

    With ``scales``, the architecture computes YaRN's ``mscale`` itself.

    Raises:
        UsageError: llama.cpp does not have this kind of scaling.
    """
    writer.add_rope_dimension_count(rope.num_rotated)
    writer.add_rope_freq_base(rope.theta)
    scaling = rope.scaling
    if scaling.has("mrope_section"):
        sections = [int(size) for size in scaling.numbers("mrope_section")]
        writer.add_rope_dimension_sections([*sections, 0, 0, 0, 0][:4])
    kind = scaling.text("rope_type", scaling.text("type", "default"))
    if kind in UNSCALED:
        return {}
    if kind == "linear":
        _write_factor(writer, scaling, "linear")
        return {}
    if kind == "yarn":
        _write_factor(writer, scaling, "yarn")
        _describe_yarn(writer, scaling, scales=scales)
        writer.add_rope_scaling_orig_ctx_len(_original(scaling, rope.context))
        return {}
    if kind == "llama3":
        return {"rope_freqs.weight": llama3_factors(rope)}
    if kind in {"longrope", "su"}:
        return _longrope(writer, rope, config)
    raise UsageError(
        f"{scaling.where} has the type {kind!r}; default, linear, dynamic, yarn, llama3 and "
        "longrope can be converted"
    )


def llama3_factors(rope: Rope) -> Array:
    """Return the divisors of the frequencies: float32, shape (num_rotated / 2,).

    High frequencies are kept, low ones are divided by ``factor``, with a smooth transition between
    them (Llama 3.1).
    """
    scaling = rope.scaling
    factor = scaling.number("factor")
    low, high = scaling.number("low_freq_factor"), scaling.number("high_freq_factor")
    if factor <= 0 or not 0 < low < high:
        raise scaling.wrong("low_freq_factor", "above 0 and below high_freq_factor, factor above 0")
    exponents = np.arange(0, rope.num_rotated, 2, dtype=np.float64) / rope.num_rotated
    wavelengths = 2 * math.pi * rope.theta**exponents
    turns = _original(scaling, rope.context) / wavelengths
    kept = np.clip((turns - low) / (high - low), 0.0, 1.0)
    return (1.0 / ((1.0 - kept) / factor + kept)).astype(np.float32)


def _write_factor(writer: gguf.GGUFWriter, scaling: Config, kind: str) -> None:
    factor = scaling.number("factor")
    if factor <= 0:
        raise scaling.wrong("factor", "above 0")
    writer.add_string(f"{writer.arch}.rope.scaling.type", kind)
    writer.add_rope_scaling_factor(factor)


def _original(scaling: Config, context: int) -> int:
    return scaling.count("original_max_position_embeddings", context)


def _describe_yarn(writer: gguf.GGUFWriter, scaling: Config, *, scales: bool) -> None:
    for key, write in (
        ("extrapolation_factor", writer.add_rope_scaling_yarn_ext_factor),
        ("attention_factor", writer.add_rope_scaling_yarn_attn_factor),
        ("beta_fast", writer.add_rope_scaling_yarn_beta_fast),
        ("beta_slow", writer.add_rope_scaling_yarn_beta_slow),
    ):
        if scaling.has(key):
            write(scaling.number(key))
    for key in ("mscale", "mscale_all_dim"):
        if scaling.has(key) and not scales:
            raise UsageError(f"{scaling.where} has {key}, which cannot be converted")


def _longrope(writer: gguf.GGUFWriter, rope: Rope, config: Config) -> dict[str, Array]:
    scaling = rope.scaling
    original = config.count("original_max_position_embeddings", _original(scaling, rope.context))
    stretch = rope.context / original
    natural = math.sqrt(1 + math.log(stretch) / math.log(original)) if stretch > 1 else 1.0
    writer.add_rope_scaling_orig_ctx_len(original)
    writer.add_rope_scaling_attn_factors(scaling.number("attention_factor", natural))
    return {
        "rope_factors_long.weight": _factors(scaling, "long_factor", rope.num_rotated),
        "rope_factors_short.weight": _factors(scaling, "short_factor", rope.num_rotated),
    }


def _factors(scaling: Config, key: str, num_rotated: int) -> Array:
    factors = scaling.numbers(key)
    if len(factors) != num_rotated // 2:
        raise scaling.wrong(key, f"a list of {num_rotated // 2} numbers")
    return np.array(factors, np.float32)
