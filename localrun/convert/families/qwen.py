"""Qwen 2 and 3, dense and with experts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gguf

from localrun.convert.families.architecture import Architecture
from localrun.convert.families.keys import count_if
from localrun.errors import UsageError

if TYPE_CHECKING:
    from localrun.convert.config import Config


def _describe_moe2(writer: gguf.GGUFWriter, config: Config) -> None:
    _check_weights(config, is_normalized=False)
    _describe_moe(writer, config)


def _describe_moe3(writer: gguf.GGUFWriter, config: Config) -> None:
    _check_weights(config, is_normalized=True)
    _describe_moe(writer, config)


def _check_weights(config: Config, *, is_normalized: bool) -> None:
    """Refuse a model whose experts' weights are normalized in another way than in llama.cpp."""
    if config.flag("norm_topk_prob", default=False) != is_normalized:
        expected = str(is_normalized).lower()
        raise UsageError(
            f"{config.where}: norm_topk_prob is not {expected}, which llama.cpp assumes"
        )


def _describe_moe(writer: gguf.GGUFWriter, config: Config) -> None:
    if size := count_if(config, "moe_intermediate_size"):
        writer.add_expert_feed_forward_length(size)
    if size := count_if(config, "shared_expert_intermediate_size"):
        writer.add_expert_shared_feed_forward_length(size)


QWEN2 = Architecture(architecture=gguf.MODEL_ARCH.QWEN2)
QWEN3 = Architecture(architecture=gguf.MODEL_ARCH.QWEN3, defaults={"head_dim": 128})
QWEN2_MOE = Architecture(
    architecture=gguf.MODEL_ARCH.QWEN2MOE, has_experts=True, describe=_describe_moe2
)
QWEN3_MOE = Architecture(
    architecture=gguf.MODEL_ARCH.QWEN3MOE, has_experts=True, describe=_describe_moe3
)
