"""Gemma: embeddings that are the output, norms stored as differences from 1."""

from __future__ import annotations

import gguf

from localrun.convert.families.architecture import GELU_TANH, Architecture

GEMMA = Architecture(
    architecture=gguf.MODEL_ARCH.GEMMA,
    activations=("gelu_pytorch_tanh", "gelu"),  # old files name the other, and mean this one
    norm_offset=1.0,
    is_always_tied=True,
    defaults={"head_dim": 256, "hidden_act": "gelu_pytorch_tanh"},
)
GEMMA2 = Architecture(
    architecture=gguf.MODEL_ARCH.GEMMA2,
    activations=GELU_TANH,
    norm_offset=1.0,
    is_always_tied=True,
    defaults={
        "head_dim": 256,
        "query_pre_attn_scalar": 256,
        "sliding_window": 4096,
        "attn_logit_softcapping": 50.0,
        "final_logit_softcapping": 30.0,
        "hidden_act": "gelu_pytorch_tanh",
    },
)
GEMMA3 = Architecture(
    architecture=gguf.MODEL_ARCH.GEMMA3,
    activations=GELU_TANH,
    norm_offset=1.0,
    is_always_tied=True,
    defaults={
        "head_dim": 256,
        "query_pre_attn_scalar": 256,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1_000_000.0,
        "rope_local_base_freq": 10_000.0,
        "max_position_embeddings": 131_072,
        "sliding_window": 4096,
        "hidden_act": "gelu_pytorch_tanh",
    },
)
