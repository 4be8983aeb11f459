"""IBM's Granite: scaled LLaMA, with experts since 3, with Mamba 2 layers since 4."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import gguf

from localrun.convert.families.architecture import Architecture
from localrun.convert.families.keys import count_if
from localrun.convert.families.mamba import (
    UNADAPTABLE,
    UNBOUNDED_CONTEXT,
    check_kinds,
    describe_mamba,
    mamba_pieces,
)
from localrun.convert.sources import halves
from localrun.errors import UsageError

if TYPE_CHECKING:
    from localrun.convert.config import Config
    from localrun.convert.families.architecture import Pieces
    from localrun.convert.sources import TensorSource

MAMBA, ATTENTION = "mamba", "attention"
NEWER = {"linear_attention": MAMBA, "full_attention": ATTENTION}  # transformers 5


def _describe(writer: gguf.GGUFWriter, config: Config) -> None:
    for key, write in (
        ("attention_multiplier", writer.add_attention_scale),
        ("embedding_multiplier", writer.add_embedding_scale),
        ("residual_multiplier", writer.add_residual_scale),
        ("logits_scaling", writer.add_logit_scale),
    ):
        if config.has(key) and config.number(key):
            write(config.number(key))
    if size := count_if(config, "shared_intermediate_size"):
        writer.add_expert_shared_feed_forward_length(size)


def _describe_attention_only(writer: gguf.GGUFWriter, config: Config) -> None:
    _check_positions(config, "rope")
    _describe(writer, config)
    kv_heads = config.count("num_key_value_heads", config.count("num_attention_heads"))
    writer.add_head_count_kv([kv_heads] * config.count("num_hidden_layers"))
    writer.add_rope_scaling_finetuned(value=True)


def _describe_hybrid(writer: gguf.GGUFWriter, config: Config) -> None:
    _check_positions(config, "nope")
    _describe(writer, config)
    kv_heads = config.count("num_key_value_heads", config.count("num_attention_heads"))
    writer.add_head_count_kv([kv_heads if kind == ATTENTION else 0 for kind in _kinds(config)])
    heads = config.count("mamba_n_heads")
    describe_mamba(
        writer,
        kernel=config.count("mamba_d_conv"),
        state=config.count("mamba_d_state"),
        groups=config.count("mamba_n_groups", 1),
        heads=heads,
        inner=heads * config.count("mamba_d_head"),
    )
    writer.add_rope_scaling_finetuned(value=False)


def _check_positions(config: Config, expected: str) -> None:
    """Refuse positions that llama.cpp does not compute for this kind of Granite."""
    if config.text("position_embedding_type", expected) != expected:
        raise UsageError(
            f"{config.where}: position_embedding_type is not {expected}, which llama.cpp assumes"
        )


def _kinds(config: Config) -> list[str]:
    kinds = [NEWER.get(kind, kind) for kind in config.texts("layer_types")]
    return check_kinds(config, kinds, (MAMBA, ATTENTION), "layer_types")


def _variant(config: Config) -> Architecture:
    if MAMBA in _kinds(config):
        return GRANITE_HYBRID
    return GRANITE_4_MOE if count_if(config, "num_experts_per_tok") else GRANITE_4


def _pieces(name: str, source: TensorSource, config: Config) -> Pieces:
    layer, _, part = name.partition(".block_sparse_moe.")
    if part == "input_linear.weight":
        return _halved(source, f"{layer}.mlp.experts.", "_proj.weight")
    layer, _, part = name.partition(".shared_mlp.")
    if not part:
        return mamba_pieces(name, source, config.count("mamba_n_groups", 1))
    middle = ".mlp.shared_expert." if count_if(config, "num_local_experts") else ".mlp."
    if part == "output_linear.weight":
        return ((f"{layer}{middle}down_proj.weight", source),)
    return _halved(source, f"{layer}{middle}", "_proj.weight")


def _halved(source: TensorSource, start: str, end: str) -> Pieces:
    names = (f"{start}gate{end}", f"{start}up{end}")
    return tuple(zip(names, halves(source, names), strict=True))


GRANITE = Architecture(
    architecture=gguf.MODEL_ARCH.GRANITE,
    permutes_heads=True,
    describe=_describe,
    pieces=_pieces,
    adapter_pieces=_pieces,
)
GRANITE_MOE = Architecture(
    architecture=gguf.MODEL_ARCH.GRANITE_MOE,
    permutes_heads=True,
    has_experts=True,
    describe=_describe,
    pieces=_pieces,
    adapter_pieces=_pieces,
)
GRANITE_4 = replace(GRANITE, has_usual_heads=False, describe=_describe_attention_only)
GRANITE_4_MOE = replace(GRANITE_MOE, has_usual_heads=False, describe=_describe_attention_only)
GRANITE_HYBRID = replace(
    GRANITE_MOE,
    architecture=gguf.MODEL_ARCH.GRANITE_HYBRID,
    has_usual_heads=False,
    context_length=UNBOUNDED_CONTEXT,
    describe=_describe_hybrid,
    layer_kinds=_kinds,
    unadaptable=UNADAPTABLE,
    variant=_variant,
    variants=(GRANITE_4, GRANITE_4_MOE),
)
