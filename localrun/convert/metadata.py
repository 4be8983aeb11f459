"""Conversion of hyperparameters: from ``config.json`` to GGUF keys.

A value that llama.cpp cannot represent is refused: the model would load and write nonsense.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import gguf

from localrun.convert.families.keys import describe_experts, sliding_window_pattern
from localrun.convert.rope import describe_rope, local_theta, read_rope
from localrun.errors import UsageError

if TYPE_CHECKING:
    from localrun.convert.config import Config
    from localrun.convert.families.architecture import Architecture
    from localrun.convert.safetensors import Array

POOLINGS = {
    "pooling_mode_mean_tokens": gguf.PoolingType.MEAN,
    "pooling_mode_cls_token": gguf.PoolingType.CLS,
    "pooling_mode_lasttoken": gguf.PoolingType.LAST,
}
SWA_PERIOD = {gguf.MODEL_ARCH.GEMMA2: 2, gguf.MODEL_ARCH.GEMMA3: 6}
MAX_LAYERS = 512  # llama.cpp's limit
LAYERS_OF_27B = {gguf.MODEL_ARCH.GEMMA2: 46, gguf.MODEL_ARCH.GEMMA3: 62}


def describe(writer: gguf.GGUFWriter, config: Config, family: Architecture) -> dict[str, Array]:
    """Write the keys of the architecture; return the tensors computed from ``config.json``.

    Raises:
        IntegrityError: a value is missing or has the wrong type.
        UsageError: llama.cpp cannot represent a value.
    """
    _check_activation(config, family)
    writer.add_embedding_length(config.count("hidden_size"))
    writer.add_block_count(num_layers(config))
    if family.feed_forward:
        writer.add_feed_forward_length(config.count(family.feed_forward))
    writer.add_head_count(config.count("num_attention_heads"))
    if family.kind == "encoder":
        _describe_encoder(writer, config, family)
        return {}
    return _describe_decoder(writer, config, family)


def num_layers(config: Config) -> int:
    """Return the number of layers, which is bounded because tables have its size."""
    count = config.count("num_hidden_layers")
    if count > MAX_LAYERS:
        raise config.wrong("num_hidden_layers", f"at most {MAX_LAYERS}")
    return count


def head_size(config: Config) -> int:
    """Return the number of dimensions of an attention head."""
    natural = config.count("hidden_size") // config.count("num_attention_heads")
    return config.count("head_dim", natural)


def describe_pooling(writer: gguf.GGUFWriter, pooling: Config, family: Architecture) -> None:
    """Write the pooling of embeddings, from ``1_Pooling`` of sentence-transformers.

    The default of an encoder is the mean, as in sentence-transformers.
    """
    chosen = [kind for key, kind in POOLINGS.items() if pooling.flag(key, default=False)]
    others = [
        key
        for key, value in pooling.values.items()
        if key.startswith("pooling_mode_") and value is True and key not in POOLINGS
    ]
    if others or len(chosen) > 1:
        raise UsageError(f"{pooling.where}: this pooling cannot be converted; mean, cls, last can")
    if chosen:
        writer.add_pooling_type(chosen[0])
    elif family.kind == "encoder":
        writer.add_pooling_type(gguf.PoolingType.MEAN)


def _check_activation(config: Config, family: Architecture) -> None:
    plain = config.text("hidden_act", config.text("mlp_hidden_act", family.activations[0]))
    activation = config.text("hidden_activation", plain)
    if activation not in family.activations:
        raise UsageError(
            f"{config.where}: the activation {activation!r} cannot be converted for {family.name}; "
            f"{family.activations[0]} can"
        )


def _describe_encoder(writer: gguf.GGUFWriter, config: Config, family: Architecture) -> None:
    if config.text("position_embedding_type", "absolute") != "absolute":
        raise UsageError(f"{config.where}: relative positions cannot be converted")
    writer.add_context_length(config.count("max_position_embeddings") - family.skips_positions)
    writer.add_layer_norm_eps(config.number("layer_norm_eps"))
    writer.add_causal_attention(value=False)
    writer.add_token_type_count(config.count("type_vocab_size"))


def _describe_decoder(
    writer: gguf.GGUFWriter, config: Config, family: Architecture
) -> dict[str, Array]:
    size = head_size(config)
    heads = config.count("num_attention_heads")
    context = next(filter(config.has, family.context), family.context[-1])
    writer.add_context_length(family.context_length or config.count(context))
    if family.epsilon.startswith("layer_norm_eps"):
        writer.add_layer_norm_eps(config.number(family.epsilon))
    else:
        writer.add_layer_norm_rms_eps(config.number(family.epsilon))
    if family.has_usual_heads:
        writer.add_head_count_kv(config.count("num_key_value_heads", heads))
        writer.add_key_length(size)
        writer.add_value_length(size)
    if family.has_experts:
        describe_experts(writer, config)
    family.describe(writer, config)
    if family.architecture in SWA_PERIOD:
        _describe_gemma(writer, config, family)
    if not family.has_rope:
        return {}
    rotated = config.count(family.rotated) if family.rotated else size
    return describe_rope(writer, read_rope(config, rotated), config, scales=family.scales_yarn)


def _describe_gemma(writer: gguf.GGUFWriter, config: Config, family: Architecture) -> None:
    _check_attention_scale(config, family)
    if config.raw("use_bidirectional_attention"):
        raise UsageError(f"{config.where}: attention in both directions cannot be converted")
    if config.has("attn_logit_softcapping"):
        writer.add_attn_logit_softcapping(config.number("attn_logit_softcapping"))
    if config.has("final_logit_softcapping"):
        writer.add_final_logit_softcapping(config.number("final_logit_softcapping"))
    writer.add_sliding_window(config.count("sliding_window"))
    period = SWA_PERIOD[family.architecture]
    pattern = sliding_window_pattern(config, config.count("sliding_window_pattern", period))
    if pattern != _periodic(len(pattern), period):
        writer.add_sliding_window_pattern(pattern)
    if family.architecture is gguf.MODEL_ARCH.GEMMA3:
        writer.add_float32(f"{family.name}.rope.freq_base_swa", local_theta(config))


def _check_attention_scale(config: Config, family: Architecture) -> None:
    """Refuse a scale that differs from the one that llama.cpp computes."""
    natural = head_size(config)
    if num_layers(config) == LAYERS_OF_27B[family.architecture]:
        natural = config.count("hidden_size") // config.count("num_attention_heads")
    if config.number("query_pre_attn_scalar") != natural:
        raise UsageError(
            f"{config.where}: query_pre_attn_scalar is not {natural}, which llama.cpp assumes"
        )


def _periodic(layers: int, period: int) -> list[bool]:
    return [(index + 1) % period != 0 for index in range(layers)]
