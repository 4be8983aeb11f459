"""Conversion of hyperparameters: from ``config.json`` to GGUF keys.

A value that llama.cpp cannot represent is refused: the model would load and write nonsense.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import gguf

from localrun.convert.config import Config
from localrun.convert.families.keys import (
    describe_experts,
    head_size,
    num_layers,
    num_predictors,
)
from localrun.convert.rope import describe_rope, read_rope
from localrun.errors import UsageError

if TYPE_CHECKING:
    from localrun.convert.families.architecture import Architecture
    from localrun.convert.safetensors import Array

POOLINGS = {
    "pooling_mode_mean_tokens": gguf.PoolingType.MEAN,
    "pooling_mode_cls_token": gguf.PoolingType.CLS,
    "pooling_mode_lasttoken": gguf.PoolingType.LAST,
}
MODE = "pooling_mode"
NAMES = {"mean": "mean_tokens", "cls": "cls_token", "lasttoken": "lasttoken"}


def describe(writer: gguf.GGUFWriter, config: Config, family: Architecture) -> dict[str, Array]:
    """Write the keys of the architecture; return the tensors computed from ``config.json``.

    Raises:
        IntegrityError: a value is missing or has the wrong type.
        UsageError: llama.cpp cannot represent a value.
    """
    _check_activation(config, family)
    writer.add_embedding_length(config.count("hidden_size"))
    writer.add_block_count(num_layers(config) + num_predictors(config))
    if num_predictors(config):
        writer.add_nextn_predict_layers(num_predictors(config))
    if family.feed_forward:
        writer.add_feed_forward_length(config.count(family.feed_forward))
    writer.add_head_count(config.count("num_attention_heads"))
    if family.kind == "encoder":
        writer.add_causal_attention(value=False)
        family.describe(writer, config)
        return {}
    return _describe_decoder(writer, config, family)


def describe_pooling(writer: gguf.GGUFWriter, pooling: Config, family: Architecture) -> None:
    """Write the pooling of embeddings, from ``1_Pooling`` of sentence-transformers.

    The default of an encoder is the mean, as in sentence-transformers.
    """
    if pooling.has(MODE):  # newer files have one name
        mode = NAMES.get(pooling.text(MODE), pooling.text(MODE))
        pooling = Config({f"{MODE}_{mode}": True}, pooling.where)
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
    elif family.kind == "encoder" or family.has_dense_modules:
        writer.add_pooling_type(gguf.PoolingType.MEAN)


def _check_activation(config: Config, family: Architecture) -> None:
    plain = config.text("hidden_act", config.text("mlp_hidden_act", family.activations[0]))
    activation = config.text("hidden_activation", plain)
    if activation not in family.activations:
        raise UsageError(
            f"{config.where}: the activation {activation!r} cannot be converted for {family.name}; "
            f"{family.activations[0]} can"
        )


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
    computed = family.computed(config)
    if not family.has_rope:
        return computed
    rotated = config.count(family.rotated) if family.rotated else size
    rope = read_rope(config, rotated)
    return computed | describe_rope(writer, rope, config, scales=family.scales_yarn)
