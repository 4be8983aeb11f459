"""Qwen 2 and 3, dense and with experts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gguf

from localrun.convert.families.architecture import Architecture
from localrun.convert.families.keys import count_if
from localrun.convert.sources import PACKED, packed_experts, transposed
from localrun.errors import IntegrityError, UsageError

if TYPE_CHECKING:
    from localrun.convert.config import Config
    from localrun.convert.families.architecture import Pieces
    from localrun.convert.sources import TensorSource

DEEPSTACK = "deepstack_visual_indexes"


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


def _describe_vl(writer: gguf.GGUFWriter, config: Config) -> None:
    vision = config.inner("vision_config")
    indexes = vision.numbers("deepstack_visual_indexes") if vision.has(DEEPSTACK) else []
    writer.add_num_deepstack_layers(len(indexes))


def _describe_vl_moe(writer: gguf.GGUFWriter, config: Config) -> None:
    _check_weights(config, is_normalized=True)
    _describe_moe(writer, config)
    _describe_vl(writer, config)


def _vl_pieces(name: str, source: TensorSource, config: Config) -> Pieces:
    """Take the packed experts apart; published models have them transposed, newer ones do not."""
    if not name.endswith(PACKED):
        return ((name, source),)
    hidden, inner = config.count("hidden_size"), config.count("moe_intermediate_size")
    newer = (hidden, inner) if name.endswith(".down_proj") else (2 * inner, hidden)
    stored = source.shape[-2:]
    if stored not in {newer, newer[::-1]}:
        raise IntegrityError(f"tensor {source.name} has the shape {source.shape}")
    is_published = stored == newer[::-1]
    return packed_experts(name, transposed(source, name) if is_published else source)


QWEN2 = Architecture(architecture=gguf.MODEL_ARCH.QWEN2)
QWEN3 = Architecture(architecture=gguf.MODEL_ARCH.QWEN3, defaults={"head_dim": 128})
QWEN2_MOE = Architecture(
    architecture=gguf.MODEL_ARCH.QWEN2MOE, has_experts=True, describe=_describe_moe2
)
QWEN3_MOE = Architecture(
    architecture=gguf.MODEL_ARCH.QWEN3MOE, has_experts=True, describe=_describe_moe3
)
QWEN2_VL = Architecture(architecture=gguf.MODEL_ARCH.QWEN2VL)
QWEN3_VL = Architecture(architecture=gguf.MODEL_ARCH.QWEN3VL, describe=_describe_vl)
QWEN3_VL_MOE = Architecture(
    architecture=gguf.MODEL_ARCH.QWEN3VLMOE,
    has_experts=True,
    defaults={"norm_topk_prob": True},
    describe=_describe_vl_moe,
    pieces=_vl_pieces,
)
