"""LLaMA and what shares its layout: rotated halves of heads are interleaved in GGUF."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gguf

from localrun.convert.families.architecture import Architecture
from localrun.convert.families.keys import count_if, sliding_window_pattern
from localrun.convert.sources import PACKED, packed_experts, transposed
from localrun.errors import UsageError

if TYPE_CHECKING:
    from localrun.convert.config import Config
    from localrun.convert.families.architecture import Pieces
    from localrun.convert.sources import TensorSource


def _describe_mistral3(writer: gguf.GGUFWriter, config: Config) -> None:
    if config.text("model_type", "") != "ministral3":
        return
    parameters = config.inner("rope_parameters")
    if parameters.text("rope_type", "default") != "yarn":
        raise UsageError(f"{config.where}: Ministral 3 has yarn, this model another rope_type")
    writer.add_rope_scaling_yarn_log_mul(parameters.number("mscale_all_dim"))
    writer.add_attn_temperature_scale(parameters.number("llama_4_scaling_beta"))


def _describe_phi3(writer: gguf.GGUFWriter, config: Config) -> None:
    writer.add_sliding_window(count_if(config, "sliding_window") or 0)
    scaling = config.inner("rope_parameters" if config.has("rope_parameters") else "rope_scaling")
    size = count_if(config, "original_max_position_embeddings")
    if size and not scaling.has("long_factor"):  # else rope.py writes it
        writer.add_rope_scaling_orig_ctx_len(size)


def _describe_olmo(writer: gguf.GGUFWriter, config: Config) -> None:
    if config.has("sliding_window"):
        writer.add_sliding_window(config.count("sliding_window"))
        writer.add_sliding_window_pattern(sliding_window_pattern(config, 4))
    local = config.inner("rope_parameters").inner("sliding_attention")
    if local.has("rope_theta"):
        writer.add_rope_freq_base_swa(local.number("rope_theta"))


def _describe_llama4(writer: gguf.GGUFWriter, config: Config) -> None:
    writer.add_interleave_moe_layer_step(config.count("interleave_moe_layer_step"))
    writer.add_expert_feed_forward_length(config.count("intermediate_size"))


def _llama4_kinds(config: Config) -> list[str]:
    step = config.count("interleave_moe_layer_step")
    count = config.count("num_hidden_layers")
    return ["dense" if (index + 1) % step else "experts" for index in range(count)]


def _llama4_pieces(name: str, source: TensorSource, config: Config) -> Pieces:
    del config
    is_packed = name.endswith(PACKED)
    return packed_experts(name, transposed(source, name)) if is_packed else ((name, source),)


LLAMA = Architecture(
    architecture=gguf.MODEL_ARCH.LLAMA,
    permutes_heads=True,
    has_experts=True,
    renames=(("model.text_model.", "model."),),
)
LLAMA4 = Architecture(
    architecture=gguf.MODEL_ARCH.LLAMA4,
    has_experts=True,
    feed_forward="intermediate_size_mlp",
    describe=_describe_llama4,
    pieces=_llama4_pieces,
    layer_kinds=_llama4_kinds,
)
SMOLLM3 = Architecture(architecture=gguf.MODEL_ARCH.SMOLLM3, permutes_heads=True)
ARCEE = Architecture(
    architecture=gguf.MODEL_ARCH.ARCEE, permutes_heads=True, activations=("relu2",)
)
MISTRAL3 = Architecture(
    architecture=gguf.MODEL_ARCH.MISTRAL3,
    permutes_heads=True,
    scales_yarn=True,
    describe=_describe_mistral3,
)
OLMO2 = Architecture(architecture=gguf.MODEL_ARCH.OLMO2, describe=_describe_olmo)
OLMOE = Architecture(architecture=gguf.MODEL_ARCH.OLMOE, has_experts=True)
SEED_OSS = Architecture(architecture=gguf.MODEL_ARCH.SEED_OSS)
ERNIE = Architecture(architecture=gguf.MODEL_ARCH.ERNIE4_5, renames=(("ernie.", "model."),))
PHI3 = Architecture(architecture=gguf.MODEL_ARCH.PHI3, describe=_describe_phi3)
