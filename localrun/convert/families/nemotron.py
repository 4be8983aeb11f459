"""Nemotron-H: Mamba 2, attention and feed-forward layers, each a layer of its own; no positions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import gguf

from localrun.convert.config import Config
from localrun.convert.families.architecture import Architecture
from localrun.convert.families.keys import count_if
from localrun.convert.families.mamba import (
    UNADAPTABLE,
    UNBOUNDED_CONTEXT,
    check_kinds,
    describe_mamba,
    mamba_pieces,
)

if TYPE_CHECKING:
    from localrun.convert.families.architecture import Pieces
    from localrun.convert.sources import TensorSource

MAMBA, ATTENTION, DENSE, EXPERTS = "mamba", "attention", "mlp", "moe"
LETTERS = {"M": MAMBA, "*": ATTENTION, "-": DENSE, "E": EXPERTS}
NEWER = {"linear_attention": MAMBA, "full_attention": ATTENTION}  # transformers 5
PATTERN, KINDS = "hybrid_override_pattern", "layers_block_type"


def _adjust(config: Config) -> Config:
    """Return the configuration with a number of layers, and their kinds as a list."""
    kinds = config.texts(KINDS) if config.has(KINDS) else list(config.text(PATTERN))
    kinds = [NEWER.get(kind, LETTERS.get(kind, kind)) for kind in kinds]
    count = config.count("num_hidden_layers", len(kinds))
    size = (
        config.raw("attention_head_dim") if not config.has("head_dim") else config.raw("head_dim")
    )
    changes = {KINDS: kinds, "num_hidden_layers": count, "head_dim": size}
    return Config({**config.values, **changes}, config.where)


def _kinds(config: Config) -> list[str]:
    feeds = EXPERTS if count_if(config, "num_experts_per_tok") else DENSE
    return check_kinds(config, config.texts(KINDS), (MAMBA, ATTENTION, feeds), KINDS)


def _variant(config: Config) -> Architecture:
    return NEMOTRON_H_MOE if count_if(config, "num_experts_per_tok") else NEMOTRON_H


def _describe(writer: gguf.GGUFWriter, config: Config) -> None:
    kinds, heads = _kinds(config), config.count("mamba_num_heads")
    kv_heads = config.count("num_key_value_heads")
    writer.add_head_count_kv([kv_heads if kind == ATTENTION else 0 for kind in kinds])
    writer.add_key_length(config.count("head_dim"))
    writer.add_value_length(config.count("head_dim"))
    describe_mamba(
        writer,
        kernel=config.count("conv_kernel"),
        state=config.count("ssm_state_size"),
        groups=config.count("n_groups"),
        heads=heads,
        inner=heads * config.count("mamba_head_dim"),
    )
    rotated = config.count("hidden_size") // config.count("num_attention_heads")
    writer.add_rope_dimension_count(rotated)
    writer.add_rope_scaling_finetuned(value=False)


def _describe_dense(writer: gguf.GGUFWriter, config: Config) -> None:
    _describe(writer, config)
    size = config.count("intermediate_size")
    writer.add_feed_forward_length([size if kind == DENSE else 0 for kind in _kinds(config)])


def _describe_moe(writer: gguf.GGUFWriter, config: Config) -> None:
    _describe(writer, config)
    size = config.count("moe_intermediate_size")
    writer.add_feed_forward_length([size if kind == EXPERTS else 0 for kind in _kinds(config)])
    writer.add_expert_feed_forward_length(size)
    shared = config.count("moe_shared_expert_intermediate_size")
    writer.add_expert_shared_feed_forward_length(shared)
    writer.add_expert_shared_count(config.count("n_shared_experts"))
    writer.add_expert_weights_norm(config.flag("norm_topk_prob", default=True))
    writer.add_expert_weights_scale(config.number("routed_scaling_factor"))
    if latent := count_if(config, "moe_latent_size"):
        writer.add_moe_latent_size(latent)


def _pieces(name: str, source: TensorSource, config: Config) -> Pieces:
    if name.startswith("mtp."):
        return ()
    if ".mixer.experts." in name:  # where other models have theirs
        name = name.replace("backbone.", "model.").replace(".mixer.", ".mlp.")
        return ((name, source),)
    return mamba_pieces(name, source, config.count("n_groups"))


NEMOTRON_H = Architecture(
    architecture=gguf.MODEL_ARCH.NEMOTRON_H,
    activations=("relu2",),
    epsilon="layer_norm_epsilon",
    permutes_heads=True,  # without an effect: there is no rotation
    has_usual_heads=False,
    has_rope=False,
    context_length=UNBOUNDED_CONTEXT,
    feed_forward="",
    describe=_describe_dense,
    pieces=_pieces,
    renames=(("model.layers.", "backbone.layers."),),
    layer_kinds=_kinds,
    unadaptable=UNADAPTABLE,
    adjust=_adjust,
)
NEMOTRON_H_MOE = replace(
    NEMOTRON_H,
    architecture=gguf.MODEL_ARCH.NEMOTRON_H_MOE,
    has_experts=True,
    describe=_describe_moe,
    renames=(
        *NEMOTRON_H.renames,
        (".e_score_correction_bias", ".e_score_correction.bias"),
    ),
)
NEMOTRON = replace(NEMOTRON_H, variant=_variant, variants=(NEMOTRON_H, NEMOTRON_H_MOE))
