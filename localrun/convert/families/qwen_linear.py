"""Qwen3-Next and Qwen 3.5: gated delta networks between layers of attention.

The heads of values are stored behind their head of keys. Qwen3-Next has queries, keys, values and
gates in one matrix, head after head. llama.cpp repeats the heads of keys as tiles, so for Qwen 3.5
the heads of values are stored in that order. The layers that predict further tokens (MTP) come
behind the last one.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import gguf
import numpy as np

from localrun.convert.families.architecture import Architecture
from localrun.convert.families.keys import count_if, num_predictors
from localrun.convert.quantized.blocks import BLOCKS
from localrun.convert.sources import PACKED, ComputedTensor, ViewedTensor, packed_experts
from localrun.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from localrun.convert.config import Config
    from localrun.convert.families.architecture import Pieces
    from localrun.convert.safetensors import Array
    from localrun.convert.sources import TensorSource

LINEAR, FULL = "linear_attention", "full_attention"
PREDICTOR = re.compile(r"(?:model\.)?mtp\.layers\.(\d{1,3})\.")
PREDICTOR_PARTS = {
    "fc": "eh_proj",
    "pre_fc_norm_embedding": "enorm",
    "pre_fc_norm_hidden": "hnorm",
    "norm": "shared_head_norm",
}
SECTIONS = (11, 11, 10, 0)  # of the rotation in three dimensions, if the configuration has none


def _kinds(config: Config) -> Sequence[str]:
    kinds = config.texts("layer_types")
    count = config.count("num_hidden_layers")
    if not kinds:
        period = config.count("full_attention_interval", 4)
        return [LINEAR if (index + 1) % period else FULL for index in range(count)]
    if len(kinds) != count or set(kinds) - {LINEAR, FULL}:
        raise config.wrong("layer_types", f"{LINEAR} or {FULL} for every layer")
    return kinds


def _describe(writer: gguf.GGUFWriter, config: Config) -> None:
    if size := count_if(config, "moe_intermediate_size"):
        writer.add_expert_feed_forward_length(size)
    if size := count_if(config, "shared_expert_intermediate_size"):
        writer.add_expert_shared_feed_forward_length(size)
    heads = config.count("linear_num_value_heads")
    writer.add_ssm_conv_kernel(config.count("linear_conv_kernel_dim"))
    writer.add_ssm_state_size(config.count("linear_key_head_dim"))
    writer.add_ssm_group_count(config.count("linear_num_key_heads"))
    writer.add_ssm_time_step_rank(heads)
    writer.add_ssm_inner_size(config.count("linear_value_head_dim") * heads)
    recurrent = [kind == LINEAR for kind in _kinds(config)] + [False] * num_predictors(config)
    writer.add_array(f"{writer.arch}.attention.recurrent_layers", recurrent)
    writer.add_full_attention_interval(config.count("full_attention_interval", 4))


def _describe_35(writer: gguf.GGUFWriter, config: Config) -> None:
    _describe(writer, config)
    if not config.inner("rope_parameters").has("mrope_section"):
        writer.add_rope_dimension_sections(SECTIONS)


def _describe_35_moe(writer: gguf.GGUFWriter, config: Config) -> None:
    _describe_35(writer, config)
    if size := count_if(config, "intermediate_size"):  # not every file has it
        writer.add_feed_forward_length(size)


def _pieces(name: str, source: TensorSource, config: Config) -> Pieces:
    """Take the mixed matrices apart; both models."""
    if "mtp." in name:
        name = _predictor_name(name.removeprefix("model."), config)
    if name.endswith(PACKED):
        return packed_experts(name, source)
    if name.endswith(".in_proj_qkvz.weight"):
        return _mixed(name, source, config)
    if ".in_proj_qkvz." in name:  # a scale of both
        return tuple((name.replace("qkvz", part), source) for part in ("qkv", "z"))
    if name.endswith(".A_log"):
        source = ComputedTensor(name=name, source=source, function=_negative_exponential)
    elif name.endswith(".dt_bias"):
        name = f"{name.removesuffix('.dt_bias')}.dt_proj.bias"
    elif name.endswith(".conv1d.weight"):
        source = _flat(source, name)
    return ((name, source),)


def _predictors(names: Iterable[str]) -> int:
    return len({match[1] for name in names if (match := PREDICTOR.match(name))})


def _predictor_name(name: str, config: Config) -> str:
    """Return the name of a predictor's tensor as that of a layer behind the last, or GGUF's."""
    last = config.count("num_hidden_layers")
    if match := PREDICTOR.match(name):
        return f"model.layers.{last + int(match[1])}.{name[match.end() :]}"
    for old, new in PREDICTOR_PARTS.items():
        if name == f"mtp.{old}.weight":
            return f"blk.{last}.nextn.{new}.weight"
    return name


def _mixed(name: str, source: TensorSource, config: Config) -> Pieces:
    keys, values = config.count("linear_key_head_dim"), config.count("linear_value_head_dim")
    heads, ratio = config.count("linear_num_key_heads"), _ratio(config)
    sizes = (keys, keys, ratio * values, ratio * values)
    if source.shape[0] != heads * sum(sizes):
        raise IntegrityError(f"tensor {source.name} has the shape {source.shape}")
    by_head = np.arange(source.shape[0]).reshape(heads, -1)
    parts = np.split(by_head, np.cumsum(sizes)[:-1], axis=1)
    qkv, z = np.concatenate([part.reshape(-1) for part in parts[:3]]), parts[3].reshape(-1)
    layer = name.removesuffix("qkvz.weight")
    return (
        (f"{layer}qkv.weight", _rows(source, f"{layer}qkv.weight", qkv)),
        (f"{layer}z.weight", _rows(source, f"{layer}z.weight", z)),
    )


def _pieces_35(name: str, source: TensorSource, config: Config) -> Pieces:
    """Order the heads of values as tiles."""
    if ".linear_attn." not in name or _ratio(config) == 1:
        return _pieces(name, source, config)
    size = config.count("linear_value_head_dim")
    part = name.partition(".linear_attn.")[2]
    if part in {"in_proj_qkv.weight", "conv1d.weight"}:
        before = 2 * config.count("linear_key_head_dim") * config.count("linear_num_key_heads")
        order = np.concatenate([np.arange(before), before + _tiles(config, size)])
    elif part == "in_proj_z.weight":
        order = _tiles(config, size)
    elif part in {"in_proj_a.weight", "in_proj_b.weight", "A_log", "dt_bias"}:
        order = _tiles(config, 1)
    elif part == "out_proj.weight":
        return ((name, _columns(source, name, config)),)
    else:
        return _pieces(name, source, config)
    _check_size(source, source.shape[0], order)
    return _pieces(name, _rows(source, name, order), config)


def _columns(source: TensorSource, name: str, config: Config) -> ViewedTensor:
    """Return a matrix with the columns of its heads as tiles, in a quantized one block by block."""
    size = config.count("linear_value_head_dim")
    _check_size(source, source.shape[-1], _tiles(config, size))
    num_values, num_bytes = BLOCKS.get(source.dtype, (1, 0))
    if not num_bytes or size % num_values:
        order = _tiles(config, size)
        return ViewedTensor(
            name=name, source=source, shape=source.shape, view=lambda data: data[:, order]
        )
    blocks, shape = _tiles(config, size // num_values), (-1, source.shape[-1] // num_values)
    return ViewedTensor(
        name=name,
        source=source,
        shape=source.shape,
        view=lambda data: data.reshape(*shape, num_bytes)[:, blocks].reshape(len(data), -1),
        keeps_rows=True,
    )


def _ratio(config: Config) -> int:
    """Return the number of heads of values to a head of keys."""
    values, keys = config.count("linear_num_value_heads"), config.count("linear_num_key_heads")
    if values % keys:
        raise config.wrong("linear_num_value_heads", f"a multiple of {keys}")
    return values // keys


def _tiles(config: Config, size: int) -> Array:
    """Return the order of rows in which llama.cpp repeats heads of keys."""
    count = config.count("linear_num_value_heads") * size
    grouped = np.arange(count).reshape(-1, _ratio(config), size)
    return grouped.swapaxes(0, 1).reshape(-1)


def _check_size(source: TensorSource, size: int, order: Array) -> None:
    if size != len(order):
        raise IntegrityError(f"tensor {source.name} has the shape {source.shape}")


def _rows(source: TensorSource, name: str, order: Array) -> ViewedTensor:
    shape = (len(order), *source.shape[1:])
    return ViewedTensor(
        name=name, source=source, shape=shape, view=lambda data: data[order], keeps_rows=True
    )


def _flat(source: TensorSource, name: str) -> ViewedTensor:
    shape = (source.shape[0], source.shape[-1])
    return ViewedTensor(
        name=name, source=source, shape=shape, view=lambda data: data.reshape(shape)
    )


def _negative_exponential(values: Array) -> Array:
    return -np.exp(values)


QWEN3_NEXT = Architecture(
    architecture=gguf.MODEL_ARCH.QWEN3NEXT,
    norm_offset=1.0,
    plain_norms=(".ssm_norm.weight",),
    has_experts=True,
    defaults={"partial_rotary_factor": 0.25, "head_dim": 256},
    describe=_describe,
    pieces=_pieces,
    layer_kinds=_kinds,
    predictors=_predictors,
    unadaptable=(".ssm_", ".attn_qkv.", ".attn_gate."),
)
QWEN35 = replace(
    QWEN3_NEXT,
    architecture=gguf.MODEL_ARCH.QWEN35,
    has_experts=False,
    describe=_describe_35,
    pieces=_pieces_35,
)
QWEN35_MOE = replace(
    QWEN35,
    architecture=gguf.MODEL_ARCH.QWEN35MOE,
    has_experts=True,
    feed_forward="",
    describe=_describe_35_moe,
)
