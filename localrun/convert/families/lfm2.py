"""LFM2: layers of short convolutions between layers of attention; some with experts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gguf

from localrun.convert.families.architecture import Architecture
from localrun.convert.families.keys import count_if
from localrun.convert.sources import ViewedTensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.convert.config import Config
    from localrun.convert.families.architecture import Pieces
    from localrun.convert.sources import TensorSource

ATTENTION = "full_attention"


def _layer_types(config: Config) -> list[str]:
    kinds = config.texts("layer_types")
    if len(kinds) != config.count("num_hidden_layers") or set(kinds) - {"conv", ATTENTION}:
        raise config.wrong("layer_types", f"conv or {ATTENTION} for every layer")
    return kinds


def _describe(writer: gguf.GGUFWriter, config: Config) -> None:
    heads = config.count("num_key_value_heads")
    writer.add_head_count_kv([heads if k == ATTENTION else 0 for k in _layer_types(config)])
    writer.add_shortconv_l_cache(config.count("conv_L_cache"))


def _describe_dense(writer: gguf.GGUFWriter, config: Config) -> None:
    _describe(writer, config)
    key = "block_ff_dim" if config.has("block_ff_dim") else "intermediate_size"
    size = config.count(key)
    if config.flag("block_auto_adjust_ff_dim", default=True):
        size = int(config.number("block_ffn_dim_multiplier", 1.0) * int(2 * size / 3))
        step = config.count("block_multiple_of", 256)
        size = step * ((size + step - 1) // step)
    writer.add_feed_forward_length(size)


def _describe_moe(writer: gguf.GGUFWriter, config: Config) -> None:
    _describe(writer, config)
    writer.add_feed_forward_length(config.count("intermediate_size"))
    writer.add_expert_feed_forward_length(config.count("moe_intermediate_size"))
    writer.add_leading_dense_block_count(count_if(config, "num_dense_layers") or 0)
    writer.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID)


def _pieces(name: str, source: TensorSource, config: Config) -> Pieces:
    del config
    if name.endswith(".conv.conv.weight"):  # (channels, 1, length)
        rows, _, columns = source.shape
        shape = (rows, columns)
        flat = ViewedTensor(
            name=name, source=source, shape=shape, view=lambda data: data.reshape(shape)
        )
        return ((name, flat),)
    return ((name, source),)


def _kinds_of_moe(config: Config) -> Sequence[str]:
    dense = count_if(config, "num_dense_layers") or 0
    return [f"{kind} {index < dense}" for index, kind in enumerate(_layer_types(config))]


LFM2 = Architecture(
    architecture=gguf.MODEL_ARCH.LFM2,
    epsilon="norm_eps",
    is_always_tied=True,
    has_usual_heads=False,
    feed_forward="",
    describe=_describe_dense,
    pieces=_pieces,
    layer_kinds=_layer_types,
)
LFM2_MOE = Architecture(
    architecture=gguf.MODEL_ARCH.LFM2MOE,
    epsilon="norm_eps",
    is_always_tied=True,
    has_usual_heads=False,
    has_experts=True,
    feed_forward="",
    describe=_describe_moe,
    pieces=_pieces,
    renames=(
        (".expert_bias", ".expert_bias.bias"),
        (".feed_forward.experts.", ".block_sparse_moe.experts."),
    ),
    layer_kinds=_kinds_of_moe,
)
