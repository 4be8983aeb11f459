"""Qwen 2 and 3, dense and with experts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gguf

from localrun.convert.families.architecture import Architecture
from localrun.convert.families.keys import count_if

if TYPE_CHECKING:
    from localrun.convert.config import Config


def _describe_moe(writer: gguf.GGUFWriter, config: Config) -> None:
    if size := count_if(config, "moe_intermediate_size"):
        writer.add_expert_feed_forward_length(size)
    if size := count_if(config, "shared_expert_intermediate_size"):
        writer.add_expert_shared_feed_forward_length(size)


QWEN2 = Architecture(architecture=gguf.MODEL_ARCH.QWEN2)
QWEN3 = Architecture(architecture=gguf.MODEL_ARCH.QWEN3, defaults={"head_dim": 128})
QWEN2_MOE = Architecture(
    architecture=gguf.MODEL_ARCH.QWEN2MOE, has_experts=True, describe=_describe_moe
)
QWEN3_MOE = Architecture(
    architecture=gguf.MODEL_ARCH.QWEN3MOE, has_experts=True, describe=_describe_moe
)
