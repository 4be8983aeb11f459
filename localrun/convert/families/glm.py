"""GLM 4 and its models with experts, without the layers that predict further tokens."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import gguf

from localrun.convert.families.architecture import Architecture
from localrun.convert.families.keys import count_if

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.convert.config import Config
    from localrun.convert.families.architecture import Pieces
    from localrun.convert.sources import TensorSource

LAYER = re.compile(r"model\.layers\.(\d{1,4})\.")
PARTIAL = {"partial_rotary_factor": 0.5}


def _describe_moe(writer: gguf.GGUFWriter, config: Config) -> None:
    writer.add_expert_feed_forward_length(config.count("moe_intermediate_size"))
    writer.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID)
    writer.add_leading_dense_block_count(count_if(config, "first_k_dense_replace") or 0)
    if count := count_if(config, "n_shared_experts"):
        writer.add_expert_shared_count(count)
    if config.has("routed_scaling_factor"):
        writer.add_expert_weights_scale(config.number("routed_scaling_factor"))
    if config.has("norm_topk_prob"):
        writer.add_expert_weights_norm(config.flag("norm_topk_prob", default=True))


def dense_then_experts(config: Config) -> Sequence[str]:
    """Return the kind of each layer: the first ones are dense."""
    count = config.count("num_hidden_layers")
    dense = count_if(config, "first_k_dense_replace") or 0
    return ["dense" if index < dense else "experts" for index in range(count)]


def without_predictors(name: str, source: TensorSource, config: Config) -> Pieces:
    """Leave out the layers behind the last, which predict further tokens."""
    match = LAYER.match(name)
    if match and int(match[1]) >= config.count("num_hidden_layers"):
        return ()
    return ((name, source),)


GLM4 = Architecture(architecture=gguf.MODEL_ARCH.GLM4, defaults=PARTIAL)
GLM4_MOE = Architecture(
    architecture=gguf.MODEL_ARCH.GLM4_MOE,
    has_experts=True,
    defaults=PARTIAL,
    describe=_describe_moe,
    pieces=without_predictors,
    renames=((".e_score_correction_bias", ".e_score_correction.bias"),),
    layer_kinds=dense_then_experts,
)
