"""Falcon-H1: attention beside Mamba 2 in every layer; its multipliers are part of the weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gguf
import numpy as np

from localrun.convert.families.architecture import Architecture
from localrun.convert.families.mamba import UNADAPTABLE, describe_mamba, mamba_pieces
from localrun.convert.sources import ScaledTensor
from localrun.errors import IntegrityError

if TYPE_CHECKING:
    from localrun.convert.config import Config
    from localrun.convert.families.architecture import Pieces
    from localrun.convert.safetensors import Array
    from localrun.convert.sources import TensorSource

SCALED = (".attn_", ".ssm_", ".ffn_gate.", ".ffn_down.", "token_embd.", "output.")
Factors = tuple["float | Array", ...]


def _describe(writer: gguf.GGUFWriter, config: Config) -> None:
    size = config.count("mamba_d_head")
    inner = config.count("mamba_d_ssm")
    if inner % size:
        raise config.wrong("mamba_d_ssm", f"a multiple of mamba_d_head, {size}")
    describe_mamba(
        writer,
        kernel=config.count("mamba_d_conv"),
        state=config.count("mamba_d_state"),
        groups=config.count("mamba_n_groups"),
        heads=inner // size,
        inner=inner,
    )


def _pieces(name: str, source: TensorSource, config: Config) -> Pieces:
    factors = _factors(name, source, config)
    if factors:
        return ((name, ScaledTensor(name=name, source=source, factors=factors)),)
    return mamba_pieces(name, source, config.count("mamba_n_groups"))


def _factors(name: str, source: TensorSource, config: Config) -> Factors:
    """Return the multipliers of a matrix, in the order in which they are applied."""
    part = name.removesuffix(".weight").rpartition(".")[2]
    attention = config.number("attention_in_multiplier", 1.0)
    if part in {"gate_proj", "down_proj"}:
        return (_numbers(config, "mlp_multipliers", 2)[part == "down_proj"],)
    if part == "k_proj":
        return (config.number("key_multiplier", 1.0), attention)
    if part in {"q_proj", "v_proj"}:
        return (attention,)
    if part == "in_proj":
        return (config.number("ssm_in_multiplier", 1.0), _by_row(source, config))
    keys = {
        "o_proj": "attention_out_multiplier",
        "out_proj": "ssm_out_multiplier",
        "lm_head": "lm_head_multiplier",
        "embed_tokens": "embedding_multiplier",
    }
    return (config.number(keys[part], 1.0),) if part in keys else ()


def _by_row(source: TensorSource, config: Config) -> Array:
    """Return the multipliers of z, x, B, C and dt for each row of their common matrix."""
    inner = config.count("mamba_d_ssm")
    state = config.count("mamba_n_groups") * config.count("mamba_d_state")
    steps = source.shape[0] - 2 * inner - 2 * state
    if steps != inner // config.count("mamba_d_head"):
        raise IntegrityError(f"tensor {source.name} has the shape {source.shape}")
    sizes = (inner, inner, state, state, steps)
    return np.repeat(np.array(_numbers(config, "ssm_multipliers", 5), np.float32), sizes)


def _numbers(config: Config, key: str, count: int) -> list[float]:
    numbers = config.numbers(key) if config.has(key) else [1.0] * count
    if len(numbers) != count:
        raise config.wrong(key, f"a list of {count} numbers")
    return numbers


FALCON_H1 = Architecture(
    architecture=gguf.MODEL_ARCH.FALCON_H1,
    describe=_describe,
    pieces=_pieces,
    unadaptable=(*UNADAPTABLE, *SCALED),
)
