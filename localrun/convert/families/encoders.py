"""Encoders: BERT, RoBERTa, NomicBERT with and without experts, ModernBERT."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import gguf

from localrun.convert.config import Config
from localrun.convert.families.architecture import Architecture
from localrun.convert.families.keys import count_if
from localrun.convert.sources import reshaped, transposed
from localrun.errors import IntegrityError, UsageError

if TYPE_CHECKING:
    from localrun.convert.families.architecture import Pieces
    from localrun.convert.sources import TensorSource

PADDING = 2  # RoBERTa's positions begin behind that of the padding token, 1
NOMIC_NAMES = {
    "n_embd": "hidden_size",
    "n_layer": "num_hidden_layers",
    "n_head": "num_attention_heads",
    "n_inner": "intermediate_size",
    "n_positions": "max_position_embeddings",
    "layer_norm_epsilon": "layer_norm_eps",
    "rotary_emb_base": "rope_theta",
    "activation_function": "hidden_act",
}
NOMIC_TRAINED = {8192: 2048, 2048: 512}  # version 1.5 and 2, by what the configuration says
NOMIC_REQUIRED = {
    "causal": False,
    "prenorm": False,
    "rotary_emb_fraction": 1.0,
    "rotary_emb_interleaved": False,
    "rotary_emb_scale_base": None,
}
MODERN_GLOBAL, MODERN_LOCAL = 160_000.0, 10_000.0


def _describe_bert(writer: gguf.GGUFWriter, config: Config, skipped: int = 0) -> None:
    if config.text("position_embedding_type", "absolute") != "absolute":
        raise UsageError(f"{config.where}: relative positions cannot be converted")
    writer.add_context_length(config.count("max_position_embeddings") - skipped)
    writer.add_layer_norm_eps(config.number("layer_norm_eps"))
    writer.add_token_type_count(config.count("type_vocab_size"))


def _describe_roberta(writer: gguf.GGUFWriter, config: Config) -> None:
    _describe_bert(writer, config, PADDING)


def _adjust_nomic(config: Config) -> Config:
    """Return the configuration with transformers' names; published files have those of GPT-2."""
    values = dict(config.values)
    for old, new in NOMIC_NAMES.items():
        if values.get(old) is not None:
            values[new] = values[old]
    values.setdefault("rope_theta", config.inner("rope_parameters").raw("rope_theta") or 1000.0)
    if config.has("n_positions"):
        said = config.count("n_positions")
        if said not in NOMIC_TRAINED:
            raise config.wrong("n_positions", " or ".join(map(str, NOMIC_TRAINED)))
        values["max_position_embeddings"] = NOMIC_TRAINED[said]
    if values.get("hidden_act") == "silu":  # with a gate, as in the older name
        values["hidden_act"] = "swiglu"
    return Config(values, config.where)


def _describe_nomic(writer: gguf.GGUFWriter, config: Config) -> None:
    for key, value in NOMIC_REQUIRED.items():
        if key in config.values and config.raw(key) != value:
            raise config.wrong(key, f"{value}, which llama.cpp assumes")
    has_biases = bool(config.raw("moe_every_n_layers"))
    for key in ("qkv_proj_bias", "mlp_fc1_bias", "mlp_fc2_bias"):
        if config.flag(key, default=has_biases) != has_biases:
            raise config.wrong(key, f"{has_biases}, which llama.cpp assumes")
    _describe_bert(writer, config)
    writer.add_rope_freq_base(config.number("rope_theta"))


def _describe_nomic_moe(writer: gguf.GGUFWriter, config: Config) -> None:
    _describe_nomic(writer, config)
    writer.add_moe_every_n_layers(config.count("moe_every_n_layers"))
    writer.add_expert_count(config.count("num_experts"))
    writer.add_expert_used_count(config.count("moe_top_k"))


def _nomic_variant(config: Config) -> Architecture:
    return NOMIC_BERT_MOE if count_if(config, "moe_every_n_layers") else NOMIC_BERT


def _nomic_pieces(name: str, source: TensorSource, config: Config) -> Pieces:
    if name.endswith("mlp.experts.bias"):  # has no effect
        return ()
    if not name.endswith((".experts.mlp.w1", ".experts.mlp.w2")):
        return ((name, source),)
    rows, columns = config.count("intermediate_size"), config.count("hidden_size")
    experts = config.count("num_experts")
    if source.shape != (experts * rows, columns):
        raise IntegrityError(f"tensor {source.name} has the shape {source.shape}")
    name, is_down = f"{name}.weight", name.endswith("w2")
    stacked = reshaped(source, name, (experts, rows, columns))
    return ((name, transposed(stacked, name) if is_down else stacked),)


def _nomic_kinds(config: Config) -> list[str]:
    period = config.count("moe_every_n_layers")
    count = config.count("num_hidden_layers")
    return ["experts" if index % period == 1 else "dense" for index in range(count)]


def _describe_modern(writer: gguf.GGUFWriter, config: Config) -> None:
    writer.add_context_length(config.count("max_position_embeddings"))
    writer.add_layer_norm_eps(config.number("norm_eps"))
    writer.add_sliding_window(config.count("local_attention"))
    writer.add_sliding_window_pattern(config.count("global_attn_every_n_layers"))
    writer.add_string(f"{writer.arch}.hidden_activation", config.text("hidden_activation"))
    writer.add_rope_scaling_type(gguf.RopeScalingType.NONE)
    parameters = config.inner("rope_parameters")
    for kind, old, default, write in (
        ("full_attention", "global_rope_theta", MODERN_GLOBAL, writer.add_rope_freq_base),
        ("sliding_attention", "local_rope_theta", MODERN_LOCAL, writer.add_rope_freq_base_swa),
    ):
        write(parameters.inner(kind).number("rope_theta", config.number(old, default)))


def _modern_kinds(config: Config) -> list[str]:
    """Return the kind of each layer; the first has no norm before its attention."""
    return [str(index > 0) for index in range(config.count("num_hidden_layers"))]


BERT = Architecture(
    architecture=gguf.MODEL_ARCH.BERT,
    kind="encoder",
    activations=("gelu",),
    defaults={"layer_norm_eps": 1e-12, "type_vocab_size": 2},
    describe=_describe_bert,
)
ROBERTA = replace(BERT, skips_positions=PADDING, describe=_describe_roberta)
NOMIC_BERT = Architecture(
    architecture=gguf.MODEL_ARCH.NOMIC_BERT,
    kind="encoder",
    activations=("swiglu",),
    defaults={"layer_norm_eps": 1e-12, "type_vocab_size": 2},
    describe=_describe_nomic,
    pieces=_nomic_pieces,
    adjust=_adjust_nomic,
)
NOMIC_BERT_MOE = replace(
    NOMIC_BERT,
    architecture=gguf.MODEL_ARCH.NOMIC_BERT_MOE,
    activations=("gelu",),
    describe=_describe_nomic_moe,
    layer_kinds=_nomic_kinds,
)
NOMIC = replace(NOMIC_BERT, variant=_nomic_variant, variants=(NOMIC_BERT_MOE,))
MODERN_BERT = Architecture(
    architecture=gguf.MODEL_ARCH.MODERN_BERT,
    kind="encoder",
    activations=("gelu", "silu"),
    defaults={
        "norm_eps": 1e-5,
        "hidden_activation": "gelu",
        "global_attn_every_n_layers": 3,
        "local_attention": 128,
    },
    describe=_describe_modern,
    layer_kinds=_modern_kinds,
)
