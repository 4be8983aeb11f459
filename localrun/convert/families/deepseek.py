"""DeepSeek V2 and V3: multi-head latent attention, and experts in groups.

llama.cpp computes with the latent keys and values as one head (MQA), so the matrix that expands
them is taken apart: ``k_b`` is transposed, both have a dimension for the heads. The layers that
predict further tokens are left out.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import gguf

from localrun.convert.families.architecture import Architecture
from localrun.convert.families.glm import dense_then_experts, without_predictors
from localrun.convert.families.keys import count_if
from localrun.convert.sources import ViewedTensor
from localrun.errors import IntegrityError, UsageError

if TYPE_CHECKING:
    from localrun.convert.config import Config
    from localrun.convert.families.architecture import Pieces
    from localrun.convert.sources import TensorSource

LAYERS_OF_LITE = (26, 27)


def _describe(writer: gguf.GGUFWriter, config: Config) -> None:
    latent, rotated = config.count("kv_lora_rank"), config.count("qk_rope_head_dim")
    writer.add_head_count_kv(1)
    writer.add_kv_lora_rank(latent)
    if rank := count_if(config, "q_lora_rank"):
        writer.add_q_lora_rank(rank)
    elif config.count("num_hidden_layers") not in LAYERS_OF_LITE:
        raise UsageError(
            f"{config.where}: without q_lora_rank, llama.cpp knows models of "
            f"{LAYERS_OF_LITE[0]} and {LAYERS_OF_LITE[1]} layers only"
        )
    writer.add_key_length(latent + rotated)
    writer.add_value_length(latent)
    writer.add_key_length_mla(config.count("qk_nope_head_dim") + rotated)
    writer.add_value_length_mla(config.count("v_head_dim"))
    has_experts = config.has("n_routed_experts")
    dense = 0 if has_experts else config.count("num_hidden_layers")
    if config.has("first_k_dense_replace"):
        dense = count_if(config, "first_k_dense_replace") or 0
    writer.add_leading_dense_block_count(dense)
    size = "moe_intermediate_size" if config.has("moe_intermediate_size") else "intermediate_size"
    writer.add_expert_feed_forward_length(config.count(size))
    writer.add_expert_shared_count(count_if(config, "n_shared_experts") or 0)
    if config.has("routed_scaling_factor"):
        writer.add_expert_weights_scale(config.number("routed_scaling_factor"))
    if config.flag("norm_topk_prob", default=False):
        writer.add_expert_weights_norm(value=True)
    scaling = (
        config.inner("rope_parameters")
        if config.has("rope_parameters")
        else config.inner("rope_scaling")
    )
    if scaling.has("mscale_all_dim"):
        writer.add_rope_scaling_yarn_log_mul(0.1 * scaling.number("mscale_all_dim"))


def _pieces(name: str, source: TensorSource, config: Config) -> Pieces:
    if not name.endswith("kv_b_proj.weight"):
        return without_predictors(name, source, config)
    if not without_predictors(name, source, config):
        return ()
    heads, keys = config.count("num_attention_heads"), config.count("qk_nope_head_dim")
    values, columns = config.count("v_head_dim"), source.shape[-1]
    if source.shape != (heads * (keys + values), columns):
        raise IntegrityError(f"tensor {source.name} has the shape {source.shape}")
    by_head = (heads, keys + values, columns)
    k_name, v_name = (name.replace("kv_b_proj", f"{part}_b_proj") for part in "kv")
    k = ViewedTensor(
        name=k_name,
        source=source,
        shape=(heads, columns, keys),
        view=lambda data: data.reshape(by_head)[:, :keys].swapaxes(1, 2),
    )
    v = ViewedTensor(
        name=v_name,
        source=source,
        shape=(heads, values, columns),
        view=lambda data: data.reshape(by_head)[:, keys:],
    )
    return ((k_name, k), (v_name, v))


DEEPSEEK2 = Architecture(
    architecture=gguf.MODEL_ARCH.DEEPSEEK2,
    has_experts=True,
    has_usual_heads=False,
    rotated="qk_rope_head_dim",
    scales_yarn=True,
    defaults={"rms_norm_eps": 1e-6},
    describe=_describe,
    pieces=_pieces,
    renames=((".e_score_correction_bias", ".e_score_correction.bias"),),
    layer_kinds=dense_then_experts,
    unadaptable=(".attn_q.", ".attn_q_a.", ".attn_q_b.", ".attn_kv_a_mqa.", "_b."),
)
DEEPSEEK3 = replace(
    DEEPSEEK2,
    defaults={"rms_norm_eps": 1e-6, "scoring_func": "sigmoid", "norm_topk_prob": True},
)
GLM4_FLASH = DEEPSEEK3  # GLM 4.7 Flash
