"""Gemma 1 to 3 and EmbeddingGemma: tied embeddings, norms stored as differences from 1."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import gguf

from localrun.convert.families.architecture import GELU_TANH, Architecture
from localrun.convert.families.keys import head_size, num_layers, sliding_window_pattern
from localrun.convert.rope import local_theta
from localrun.errors import UsageError

if TYPE_CHECKING:
    from localrun.convert.config import Config

PERIOD_2, PERIOD_3 = 2, 6  # every so many layers, one sees the whole text
LAYERS_OF_27B = {PERIOD_2: 46, PERIOD_3: 62}


def _describe_2(writer: gguf.GGUFWriter, config: Config) -> None:
    _describe(writer, config, PERIOD_2)


def _describe_3(writer: gguf.GGUFWriter, config: Config) -> None:
    if config.raw("use_bidirectional_attention"):
        raise UsageError(f"{config.where}: attention in both directions cannot be converted")
    _describe_embedding(writer, config)


def _describe_embedding(writer: gguf.GGUFWriter, config: Config) -> None:
    _describe(writer, config, PERIOD_3)
    writer.add_float32(f"{writer.arch}.rope.freq_base_swa", local_theta(config))


def _describe(writer: gguf.GGUFWriter, config: Config, period: int) -> None:
    _check_attention_scale(config, period)
    if config.has("attn_logit_softcapping"):
        writer.add_attn_logit_softcapping(config.number("attn_logit_softcapping"))
    if config.has("final_logit_softcapping"):
        writer.add_final_logit_softcapping(config.number("final_logit_softcapping"))
    writer.add_sliding_window(config.count("sliding_window"))
    pattern = sliding_window_pattern(config, config.count("sliding_window_pattern", period))
    if pattern != [(index + 1) % period != 0 for index in range(len(pattern))]:
        writer.add_sliding_window_pattern(pattern)


def _check_attention_scale(config: Config, period: int) -> None:
    """Refuse a scale that differs from the one that llama.cpp computes."""
    natural = head_size(config)
    if num_layers(config) == LAYERS_OF_27B[period]:
        natural = config.count("hidden_size") // config.count("num_attention_heads")
    if config.number("query_pre_attn_scalar") != natural:
        raise UsageError(
            f"{config.where}: query_pre_attn_scalar is not {natural}, which llama.cpp assumes"
        )


GEMMA = Architecture(
    architecture=gguf.MODEL_ARCH.GEMMA,
    activations=("gelu_pytorch_tanh", "gelu"),  # old files name the other, and mean this one
    norm_offset=1.0,
    is_always_tied=True,
    defaults={"head_dim": 256, "hidden_act": "gelu_pytorch_tanh"},
)
GEMMA2 = Architecture(
    architecture=gguf.MODEL_ARCH.GEMMA2,
    describe=_describe_2,
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
    describe=_describe_3,
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
GEMMA_EMBEDDING = replace(
    GEMMA3,
    architecture=gguf.MODEL_ARCH.GEMMA_EMBEDDING,
    describe=_describe_embedding,
    has_dense_modules=True,
)
