"""Cohere's Command R: norms with a mean, logits with a scale."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gguf

from localrun.convert.families.architecture import Architecture

if TYPE_CHECKING:
    from localrun.convert.config import Config


def _describe(writer: gguf.GGUFWriter, config: Config) -> None:
    writer.add_logit_scale(config.number("logit_scale"))
    writer.add_rope_scaling_type(gguf.RopeScalingType.NONE)


COMMAND_R = Architecture(
    architecture=gguf.MODEL_ARCH.COMMAND_R,
    epsilon="layer_norm_eps",
    is_always_tied=True,
    context=("model_max_length", "max_position_embeddings"),
    describe=_describe,
)
