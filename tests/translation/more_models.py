"""Tiny random models of more families, in llama.cpp's layout."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tests.engine.tiny import HEAD, HEADS, INNER, LAYERS, WIDTH, TinyModel
from tests.translation.files import EXPERTS, dense, layers

if TYPE_CHECKING:
    from pathlib import Path

ALTUP, LAUREL, PER_LAYER = 4, 64, 256  # fixed in llama.cpp for Gemma 3n
STATE, GROUPS, RANK, KERNEL = 8, 2, 4, 4
LORA, ROTATED = 32, 8  # of latent attention
MOE_INNER = 32
PERIOD = 6  # layers of EmbeddingGemma: the last one has full attention
LARGE_HEAD = 128  # of Qwen3-VL, whose RoPE has sections for it


def experts(model: TinyModel, prefix: str, *, inner: int = MOE_INNER, gate: bool = True) -> None:
    model.random(f"{prefix}ffn_gate_inp.weight", EXPERTS, WIDTH)
    for part in ("gate", "up") if gate else ("up",):
        model.random(f"{prefix}ffn_{part}_exps.weight", EXPERTS, inner, WIDTH)
    model.random(f"{prefix}ffn_down_exps.weight", EXPERTS, WIDTH, inner)


def shared_experts(model: TinyModel, prefix: str, *, inner: int, gate: bool = True) -> None:
    for part in ("gate", "up") if gate else ("up",):
        model.random(f"{prefix}ffn_{part}_shexp.weight", inner, WIDTH)
    model.random(f"{prefix}ffn_down_shexp.weight", WIDTH, inner)


def norms(model: TinyModel, prefix: str, *names: str, size: int = WIDTH) -> None:
    for name in names:
        model.random(f"{prefix}{name}.weight", size, scale=0.5)


def gemma3n(path: Path, vocabulary: Path) -> None:
    model = dense(path, vocabulary, "gemma3n")
    model.writer.add_string("tokenizer.ggml.model", "llama")
    model.writer.add_sliding_window(16)
    model.random("altup_proj.weight", ALTUP - 1, WIDTH, WIDTH)
    model.random("altup_unembd_proj.weight", ALTUP - 1, WIDTH, WIDTH)
    model.random("per_layer_token_embd.weight", model.num_vocab, PER_LAYER * LAYERS)
    model.random("per_layer_model_proj.weight", PER_LAYER * LAYERS, WIDTH)
    norms(model, "", "per_layer_proj_norm", size=PER_LAYER)
    for prefix in layers():
        norms(model, prefix, "attn_norm", "post_attention_norm", "post_ffw_norm", "post_norm")
        norms(model, prefix, "attn_q_norm", "attn_k_norm", size=HEAD)
        model.attention(prefix)
        model.feed_forward(prefix)
        model.random(f"{prefix}inp_gate.weight", PER_LAYER, WIDTH)
        model.random(f"{prefix}proj.weight", WIDTH, PER_LAYER)
        model.random(f"{prefix}altup_correct_coef.weight", ALTUP, ALTUP)
        norms(model, prefix, "altup_correct_scale", "altup_router_norm", "laurel_post_norm")
        model.random(f"{prefix}altup_predict_coef.weight", ALTUP * ALTUP, ALTUP)
        model.random(f"{prefix}altup_router.weight", ALTUP, WIDTH)
        model.random(f"{prefix}laurel_l.weight", LAUREL, WIDTH)
        model.random(f"{prefix}laurel_r.weight", WIDTH, LAUREL)
    model.save()


def gemma4(path: Path, vocabulary: Path) -> None:
    model = dense(path, vocabulary, "gemma4")
    model.writer.add_string("tokenizer.ggml.model", "gemma4")
    model.writer.add_string("tokenizer.ggml.pre", "gemma4")
    model.writer.add_sliding_window(16)
    is_local = [layer % 2 == 0 for layer in range(LAYERS)]
    model.writer.add_array("gemma4.attention.sliding_window_pattern", is_local)
    model.writer.add_uint32("gemma4.attention.key_length_swa", HEAD)
    model.writer.add_uint32("gemma4.attention.value_length_swa", HEAD)
    model.writer.add_uint32("gemma4.embedding_length_per_layer_input", 0)
    model.writer.add_expert_count(EXPERTS)
    model.writer.add_expert_used_count(2)
    model.writer.add_expert_feed_forward_length(MOE_INNER)
    norms(model, "", "rope_freqs", size=HEAD // 2)
    for prefix in layers():
        norms(model, prefix, "attn_norm", "post_attention_norm", "post_ffw_norm")
        norms(model, prefix, "pre_ffw_norm_2", "post_ffw_norm_1", "post_ffw_norm_2")
        norms(model, prefix, "attn_q_norm", "attn_k_norm", size=HEAD)
        model.attention(prefix)
        model.feed_forward(prefix)
        experts(model, prefix)
        model.random(f"{prefix}ffn_gate_inp.scale", WIDTH, scale=0.5)
        model.random(f"{prefix}ffn_down_exps.scale", EXPERTS, scale=0.5)
        norms(model, prefix, "layer_output_scale", size=1)
    model.save()


def gated_delta_net(model: TinyModel, prefix: str, *, is_next: bool) -> None:
    """Add a layer of linear attention, as Qwen3-Next and Qwen 3.5 have it."""
    key, value = STATE * GROUPS, STATE * RANK
    model.random(f"{prefix}attn_qkv.weight", 2 * key + value, WIDTH)
    model.random(f"{prefix}attn_gate.weight", value, WIDTH)
    model.random(f"{prefix}ssm_conv1d.weight", 2 * key + value, KERNEL)
    model.random(f"{prefix}ssm_dt.bias", RANK, scale=0.5)
    model.writer.add_tensor(f"{prefix}ssm_a", -np.arange(1, RANK + 1, dtype=np.float32))
    if is_next:
        model.random(f"{prefix}ssm_ba.weight", 2 * RANK, WIDTH)
    else:
        model.random(f"{prefix}ssm_beta.weight", RANK, WIDTH)
        model.random(f"{prefix}ssm_alpha.weight", RANK, WIDTH)
    norms(model, prefix, "ssm_norm", size=STATE)
    model.random(f"{prefix}ssm_out.weight", WIDTH, value)


def gated_attention(model: TinyModel, prefix: str) -> None:
    model.random(f"{prefix}attn_q.weight", 2 * WIDTH, WIDTH)
    for part in ("k", "v", "output"):
        model.random(f"{prefix}attn_{part}.weight", WIDTH, WIDTH)
    norms(model, prefix, "attn_q_norm", "attn_k_norm", size=HEAD)


def _hybrid(path: Path, vocabulary: Path, architecture: str) -> TinyModel:
    model = dense(path, vocabulary, architecture)
    for name, value in {
        "conv_kernel": KERNEL,
        "inner_size": STATE * RANK,
        "state_size": STATE,
        "time_step_rank": RANK,
        "group_count": GROUPS,
    }.items():
        model.writer.add_uint32(f"{architecture}.ssm.{name}", value)
    model.writer.add_uint32(f"{architecture}.full_attention_interval", 2)
    return model


def qwen3next(path: Path, vocabulary: Path) -> None:
    model = _hybrid(path, vocabulary, "qwen3next")
    _with_experts(model, "qwen3next")
    for number, prefix in enumerate(layers()):
        norms(model, prefix, "attn_norm", "post_attention_norm")
        if number % 2:
            gated_attention(model, prefix)
        else:
            gated_delta_net(model, prefix, is_next=True)
        _qwen_experts(model, prefix)
    model.save()


def _with_experts(model: TinyModel, architecture: str) -> None:
    model.writer.add_expert_count(EXPERTS)
    model.writer.add_expert_used_count(2)
    model.writer.add_expert_feed_forward_length(MOE_INNER)
    model.writer.add_uint32(f"{architecture}.expert_shared_feed_forward_length", MOE_INNER)


def _qwen_experts(model: TinyModel, prefix: str) -> None:
    experts(model, prefix)
    norms(model, prefix, "ffn_gate_inp_shexp")
    shared_experts(model, prefix, inner=MOE_INNER)


def qwen35(path: Path, vocabulary: Path) -> None:
    _qwen35(path, vocabulary, "qwen35")


def qwen35moe(path: Path, vocabulary: Path) -> None:
    _qwen35(path, vocabulary, "qwen35moe")


def _qwen35(path: Path, vocabulary: Path, architecture: str) -> None:
    """Write a model with one layer more, which predicts the token after the next."""
    model = _hybrid(path, vocabulary, architecture)
    model.writer.add_array(f"{architecture}.rope.dimension_sections", [2, 3, 3, 0])
    if architecture == "qwen35moe":
        _with_experts(model, architecture)
    extra = f"blk.{LAYERS}."
    for number, prefix in enumerate([*layers(), extra]):
        norms(model, prefix, "attn_norm", "post_attention_norm")
        if number % 2 or prefix == extra:
            gated_attention(model, prefix)
        else:
            gated_delta_net(model, prefix, is_next=False)
        if architecture == "qwen35moe":
            _qwen_experts(model, prefix)
        else:
            for part, rows, columns in (("gate", INNER, WIDTH), ("up", INNER, WIDTH)):
                model.random(f"{prefix}ffn_{part}.weight", rows, columns)
            model.random(f"{prefix}ffn_down.weight", WIDTH, INNER)
    _mtp_layer(model, architecture)
    model.save()


def _mtp_layer(model: TinyModel, architecture: str) -> None:
    """Declare one layer more, which predicts the token after the next, and add its own tensors."""
    model.writer.add_block_count(LAYERS + 1)
    model.writer.add_uint32(f"{architecture}.nextn_predict_layers", 1)
    extra = f"blk.{LAYERS}."
    model.random(f"{extra}nextn.eh_proj.weight", WIDTH, 2 * WIDTH)
    norms(model, extra, "nextn.enorm", "nextn.hnorm", "nextn.shared_head_norm")


def deepseek_mtp(path: Path, vocabulary: Path) -> None:
    """Write a DeepSeek with latent attention and an MTP layer."""
    glm47_flash(path, vocabulary, has_mtp=True)


def hunyuan_mtp(path: Path, vocabulary: Path) -> None:
    """Write a Hunyuan 3 with dense layers and an MTP layer."""
    model = dense(path, vocabulary, "hy_v3")
    model.writer.add_rope_dimension_count(HEAD)
    model.writer.add_expert_feed_forward_length(MOE_INNER)
    _mtp_layer(model, "hy_v3")
    for prefix in (*layers(), f"blk.{LAYERS}."):
        norms(model, prefix, "attn_norm")
        norms(model, prefix, "attn_q_norm", "attn_k_norm", size=HEAD)
        model.attention(prefix)
        model.feed_forward(prefix)
    model.save()


def glm4(path: Path, vocabulary: Path) -> None:
    model = dense(path, vocabulary, "glm4")
    model.writer.add_string("tokenizer.ggml.pre", "chatglm-bpe")
    model.writer.add_array("glm4.rope.dimension_sections", [2, 3, 3, 0])
    model.writer.add_rope_dimension_count(HEAD)
    for prefix in layers():
        norms(model, prefix, "attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm")
        model.attention(prefix)
        model.random(f"{prefix}ffn_up.weight", 2 * INNER, WIDTH)
        model.random(f"{prefix}ffn_down.weight", WIDTH, INNER)
    model.save()


def deepseek2_ocr(path: Path, vocabulary: Path) -> None:
    model = dense(path, vocabulary, "deepseek2-ocr")
    model.writer.add_layer_norm_rms_eps(1e-6)
    model.writer.add_leading_dense_block_count(1)
    model.writer.add_expert_count(EXPERTS)
    model.writer.add_expert_used_count(2)
    model.writer.add_expert_feed_forward_length(MOE_INNER)
    model.writer.add_expert_shared_count(2)
    for number, prefix in enumerate(layers()):
        norms(model, prefix, "attn_norm")
        model.attention(prefix)
        if number == 0:
            model.feed_forward(prefix)
            continue
        norms(model, prefix, "ffn_norm")
        experts(model, prefix)
        shared_experts(model, prefix, inner=2 * MOE_INNER)
    model.save()


def glm47_flash(path: Path, vocabulary: Path, *, has_mtp: bool = False) -> None:
    """Write GLM-4.7-Flash, a DeepSeek-V2 with the absorbed matrices of latent attention."""
    model = dense(path, vocabulary, "deepseek2")
    if has_mtp:
        _mtp_layer(model, "deepseek2")
    model.writer.add_string("tokenizer.ggml.pre", "glm4")
    model.writer.add_head_count_kv(1)
    model.writer.add_key_length(LORA + ROTATED)
    model.writer.add_value_length(LORA)
    for name, value in {
        "attention.q_lora_rank": LORA,
        "attention.kv_lora_rank": LORA,
        "attention.key_length_mla": HEAD,
        "attention.value_length_mla": HEAD,
        "rope.dimension_count": ROTATED,
        "leading_dense_block_count": 1,
        "expert_count": EXPERTS,
        "expert_used_count": 2,
        "expert_feed_forward_length": MOE_INNER,
        "expert_shared_count": 1,
        "expert_gating_func": 2,
        "expert_group_count": 1,
        "expert_group_used_count": 1,
    }.items():
        model.writer.add_uint32(f"deepseek2.{name}", value)
    extra = [f"blk.{LAYERS}."] if has_mtp else []
    for number, prefix in enumerate([*layers(), *extra]):
        norms(model, prefix, "attn_norm")
        norms(model, prefix, "attn_q_a_norm", "attn_kv_a_norm", size=LORA)
        model.random(f"{prefix}attn_q_a.weight", LORA, WIDTH)
        model.random(f"{prefix}attn_q_b.weight", HEADS * HEAD, LORA)
        model.random(f"{prefix}attn_kv_a_mqa.weight", LORA + ROTATED, WIDTH)
        model.random(f"{prefix}attn_k_b.weight", HEADS, LORA, HEAD - ROTATED)
        model.random(f"{prefix}attn_v_b.weight", HEADS, HEAD, LORA)
        model.random(f"{prefix}attn_output.weight", WIDTH, HEADS * HEAD)
        if number == 0:
            model.feed_forward(prefix)
            continue
        norms(model, prefix, "ffn_norm")
        experts(model, prefix)
        shared_experts(model, prefix, inner=MOE_INNER)
    model.save()


def nemotron_h_moe(path: Path, vocabulary: Path, *, latent: int = 48) -> None:
    """Write a layer of states, one of attention, two of experts."""
    nemotron_h(path, vocabulary, latent=latent)


def nemotron_h(path: Path, vocabulary: Path, *, latent: int | None = None) -> None:
    architecture = "nemotron_h" if latent is None else "nemotron_h_moe"
    model = dense(path, vocabulary, architecture)
    model.writer.add_head_count_kv([0, HEADS, 0, 0])
    inner = MOE_INNER if latent else INNER
    model.writer.add_feed_forward_length([0, 0, inner, inner])
    model.writer.add_layer_norm_eps(1e-5)
    for name, value in {
        "ssm.conv_kernel": KERNEL,
        "ssm.inner_size": WIDTH,
        "ssm.state_size": STATE,
        "ssm.time_step_rank": HEADS,
        "ssm.group_count": GROUPS,
    }.items():
        model.writer.add_uint32(f"{architecture}.{name}", value)
    if latent:
        _with_experts(model, architecture)
        model.writer.add_uint32(f"{architecture}.expert_shared_count", 1)
        model.writer.add_uint32(f"{architecture}.moe_latent_size", latent)
    for number, prefix in enumerate(layers()):
        norms(model, prefix, "attn_norm")
        if number == 0:
            _mamba2(model, prefix)
        elif number == 1:
            model.attention(prefix)
        elif latent is None:
            model.random(f"{prefix}ffn_up.weight", INNER, WIDTH)
            model.random(f"{prefix}ffn_down.weight", WIDTH, INNER)
        else:
            _latent_experts(model, prefix, latent)
    model.save()


def _mamba2(model: TinyModel, prefix: str) -> None:
    mixed = WIDTH + 2 * GROUPS * STATE
    model.random(f"{prefix}ssm_in.weight", WIDTH + mixed + HEADS, WIDTH)
    model.random(f"{prefix}ssm_conv1d.weight", mixed, KERNEL)
    model.random(f"{prefix}ssm_conv1d.bias", mixed, scale=0.1)
    model.random(f"{prefix}ssm_dt.bias", HEADS, scale=0.5)
    decay = -np.arange(1, HEADS + 1, dtype=np.float32).reshape(HEADS, 1)
    model.writer.add_tensor(f"{prefix}ssm_a", decay)
    model.random(f"{prefix}ssm_d", HEADS, 1)
    model.random(f"{prefix}ssm_norm.weight", GROUPS, WIDTH // GROUPS)
    model.random(f"{prefix}ssm_out.weight", WIDTH, WIDTH)


def _latent_experts(model: TinyModel, prefix: str, latent: int) -> None:
    model.random(f"{prefix}ffn_gate_inp.weight", EXPERTS, WIDTH)
    model.random(f"{prefix}exp_probs_b.bias", EXPERTS, scale=0.1)
    model.random(f"{prefix}ffn_latent_down.weight", latent, WIDTH)
    model.random(f"{prefix}ffn_latent_up.weight", WIDTH, latent)
    model.random(f"{prefix}ffn_up_exps.weight", EXPERTS, MOE_INNER, latent)
    model.random(f"{prefix}ffn_down_exps.weight", EXPERTS, latent, MOE_INNER)
    shared_experts(model, prefix, inner=MOE_INNER, gate=False)


def laguna(path: Path, vocabulary: Path) -> None:
    model = dense(path, vocabulary, "laguna")
    model.writer.add_sliding_window(16)
    model.writer.add_rope_dimension_count(HEAD)
    model.writer.add_float32("laguna.rope.freq_base_swa", 20000.0)
    model.writer.add_uint32("laguna.rope.dimension_count_swa", HEAD // 2)
    model.writer.add_leading_dense_block_count(1)
    _with_experts(model, "laguna")
    model.writer.add_uint32("laguna.expert_shared_count", 1)
    for number, prefix in enumerate(layers()):
        norms(model, prefix, "attn_norm")
        norms(model, prefix, "attn_q_norm", "attn_k_norm", size=HEAD)
        model.attention(prefix)
        model.random(f"{prefix}attn_gate.weight", HEADS, WIDTH)
        if number == 0:
            model.feed_forward(prefix)
            continue
        norms(model, prefix, "ffn_norm")
        experts(model, prefix)
        model.random(f"{prefix}exp_probs_b.bias", EXPERTS, scale=0.1)
        shared_experts(model, prefix, inner=MOE_INNER)
    model.save()


def llama4(path: Path, vocabulary: Path) -> None:
    model = dense(path, vocabulary, "llama4")
    model.writer.add_uint32("llama4.interleave_moe_layer_step", 2)
    model.writer.add_expert_count(EXPERTS)
    model.writer.add_expert_used_count(1)
    model.writer.add_expert_feed_forward_length(MOE_INNER)
    for number, prefix in enumerate(layers()):
        norms(model, prefix, "attn_norm")
        model.attention(prefix)
        if number % 2 == 0:
            model.feed_forward(prefix)
            continue
        norms(model, prefix, "ffn_norm")
        experts(model, prefix)
        shared_experts(model, prefix, inner=MOE_INNER)
    model.save()


def qwen3vl(path: Path, vocabulary: Path) -> None:
    _qwen3vl(path, vocabulary, "qwen3vl")


def qwen3vlmoe(path: Path, vocabulary: Path) -> None:
    _qwen3vl(path, vocabulary, "qwen3vlmoe")


def _qwen3vl(path: Path, vocabulary: Path, architecture: str) -> None:
    model = dense(path, vocabulary, architecture)
    model.writer.add_array(f"{architecture}.rope.dimension_sections", [24, 20, 20, 0])
    model.writer.add_uint32(f"{architecture}.n_deepstack_layers", 2)
    model.writer.add_key_length(LARGE_HEAD)
    model.writer.add_value_length(LARGE_HEAD)
    if architecture == "qwen3vlmoe":
        model.writer.add_expert_count(EXPERTS)
        model.writer.add_expert_used_count(2)
        model.writer.add_expert_feed_forward_length(MOE_INNER)
    for prefix in layers():
        norms(model, prefix, "attn_norm")
        norms(model, prefix, "attn_q_norm", "attn_k_norm", size=LARGE_HEAD)
        for part in "qkv":
            model.random(f"{prefix}attn_{part}.weight", HEADS * LARGE_HEAD, WIDTH)
        model.random(f"{prefix}attn_output.weight", WIDTH, HEADS * LARGE_HEAD)
        if architecture == "qwen3vlmoe":
            norms(model, prefix, "ffn_norm")
            experts(model, prefix)
        else:
            model.feed_forward(prefix)
    model.save()


def gemma_embedding(path: Path, vocabulary: Path) -> None:
    model = dense(path, vocabulary, "gemma-embedding")
    model.writer.add_block_count(PERIOD)
    model.writer.add_sliding_window(16)
    model.writer.add_float32("gemma-embedding.rope.freq_base_swa", 10000.0)
    model.writer.add_uint32("gemma-embedding.pooling_type", 1)
    for number, (columns, rows) in {2: (WIDTH, INNER), 3: (INNER, WIDTH)}.items():
        model.writer.add_uint32(f"gemma-embedding.dense_{number}_feat_in", columns)
        model.writer.add_uint32(f"gemma-embedding.dense_{number}_feat_out", rows)
        model.random(f"dense_{number}.weight", rows, columns)
    for prefix in (f"blk.{number}." for number in range(PERIOD)):
        norms(model, prefix, "attn_norm", "post_attention_norm", "post_ffw_norm")
        norms(model, prefix, "attn_q_norm", "attn_k_norm", size=HEAD)
        model.attention(prefix)
        model.feed_forward(prefix)
    model.save()
