"""GGUF files for the tests: the same model as llama.cpp reads it and as Ollama wrote it."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import numpy as np
from gguf import GGUFReader, GGUFValueType, GGUFWriter

from tests.engine.tiny import HEAD, HEADS, INNER, LAYERS, WIDTH, TinyModel, encoder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

Tensors = dict[str, Any]
EXPERTS = 4
CHARACTER_MAP = "tokenizer.ggml.precompiled_charsmap"


def write_as_ollama(
    source: Path,
    target: Path,
    architecture: str,
    *,
    keys: Mapping[str, str | None],
    tensors: Callable[[str], str],
    values: Mapping[str, tuple[Any, GGUFValueType]] | None = None,
    lists: Mapping[str, list[str]] | None = None,
    undo: Callable[[Tensors], Tensors] = dict,
    extra_tensors: tuple[str, ...] = (),
    projector: Tensors | None = None,
) -> None:
    """Write a file again with other names.

    ``keys`` has new names, None for those left out; ``values`` and ``lists`` of texts are added;
    ``undo`` gets all tensors before they are renamed; ``extra_tensors`` stand before all others,
    those of the ``projector`` behind them.
    """
    reader = GGUFReader(source)
    writer = GGUFWriter(target, architecture)
    copy_keys(reader, writer, architecture, keys)
    for name, (value, kind) in (values or {}).items():
        is_array = kind is GGUFValueType.ARRAY
        inner = GGUFValueType.get_type(value[0]) if is_array else None
        writer.add_key_value(name, value, kind, sub_type=inner)
    for name, texts in (lists or {}).items():
        writer.add_array(name, texts)
    for name in extra_tensors:
        writer.add_tensor(name, np.ones((3, 5), dtype=np.float32))
    for name, array in undo({tensor.name: tensor.data for tensor in reader.tensors}).items():
        writer.add_tensor(tensors(name), array)
    for name, array in (projector or {}).items():
        writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def copy_keys(
    reader: GGUFReader, writer: GGUFWriter, architecture: str, keys: Mapping[str, str | None]
) -> None:
    old = str(reader.fields["general.architecture"].contents())
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        renamed = keys.get(name, name.replace(f"{old}.", f"{architecture}.", 1))
        if renamed is not None and name == CHARACTER_MAP:
            writer.add_array(name, list(base64.b64encode(bytes(field.contents())).decode()))
        elif renamed is not None:
            inner = field.types[1] if field.types[0] is GGUFValueType.ARRAY else None
            writer.add_key_value(renamed, field.contents(), field.types[0], sub_type=inner)


def contents(path: Path) -> tuple[dict[str, Any], dict[str, tuple[Any, bytes]]]:
    """Return all keys but the padding, and the tensors with their shapes and bytes."""
    reader = GGUFReader(path)
    keys = {
        name: field.contents()
        for name, field in reader.fields.items()
        if not name.startswith("GGUF.") and name != "localrun.padding"
    }
    tensors = {
        tensor.name: (tensor.shape.tolist(), tensor.data.tobytes()) for tensor in reader.tensors
    }
    return keys, tensors


def dense(path: Path, vocabulary: Path, architecture: str) -> TinyModel:
    """Begin a model of an architecture with the tensors that most have."""
    model = TinyModel(path, architecture, vocabulary)
    model.writer.add_feed_forward_length(INNER)
    model.writer.add_head_count(HEADS)
    model.writer.add_head_count_kv(HEADS)
    model.writer.add_key_length(HEAD)
    model.writer.add_value_length(HEAD)
    model.writer.add_rope_freq_base(10000.0)
    model.random("token_embd.weight", model.num_vocab, WIDTH, scale=1.0)
    model.ones("output_norm.weight", WIDTH)
    return model


def mistral3(path: Path, vocabulary: Path) -> None:
    model = dense(path, vocabulary, "mistral3")
    model.writer.add_string("tokenizer.ggml.pre", "tekken")
    model.writer.add_float32("mistral3.rope.scaling.yarn_beta_fast", 32.0)
    model.writer.add_float32("mistral3.attention.temperature_scale", 0.1)
    for prefix in layers():
        model.ones(f"{prefix}attn_norm.weight", WIDTH)
        model.attention(prefix)
        model.feed_forward(prefix)
    model.save()


def olmo2(path: Path, vocabulary: Path) -> None:
    model = dense(path, vocabulary, "olmo2")
    model.random("output.weight", model.num_vocab, WIDTH)
    for prefix in layers():
        model.attention(prefix)
        model.ones(f"{prefix}attn_q_norm.weight", WIDTH)
        model.ones(f"{prefix}attn_k_norm.weight", WIDTH)
        model.ones(f"{prefix}post_attention_norm.weight", WIDTH)
        model.ones(f"{prefix}post_ffw_norm.weight", WIDTH)
        model.random(f"{prefix}ffn_gate.weight", INNER, WIDTH)
        model.random(f"{prefix}ffn_up.weight", INNER, WIDTH)
        model.random(f"{prefix}ffn_down.weight", WIDTH, INNER)
    model.save()


def qwen2vl(path: Path, vocabulary: Path) -> None:
    model = dense(path, vocabulary, "qwen2vl")
    model.writer.add_array("qwen2vl.rope.dimension_sections", [2, 3, 3, 0])
    for prefix in layers():
        model.ones(f"{prefix}attn_norm.weight", WIDTH)
        model.attention(prefix)
        for part in "qkv":
            model.random(f"{prefix}attn_{part}.bias", WIDTH, scale=0.1)
        model.feed_forward(prefix)
    model.save()


def gemma3(path: Path, vocabulary: Path) -> None:
    model = dense(path, vocabulary, "gemma3")
    model.writer.add_layer_norm_rms_eps(1e-6)
    model.writer.add_sliding_window(16)
    model.writer.add_float32("gemma3.rope.freq_base_swa", 10000.0)
    for prefix in layers():
        model.ones(f"{prefix}attn_norm.weight", WIDTH)
        model.attention(prefix)
        model.ones(f"{prefix}attn_q_norm.weight", HEAD)
        model.ones(f"{prefix}attn_k_norm.weight", HEAD)
        model.ones(f"{prefix}post_attention_norm.weight", WIDTH)
        model.feed_forward(prefix)
        model.ones(f"{prefix}post_ffw_norm.weight", WIDTH)
    model.save()


def gpt_oss(path: Path, vocabulary: Path) -> None:
    model = dense(path, vocabulary, "gpt-oss")
    model.writer.add_string("tokenizer.ggml.pre", "gpt-4o")
    model.writer.add_string("gpt-oss.rope.scaling.type", "yarn")
    model.writer.add_sliding_window(16)
    model.writer.add_expert_count(EXPERTS)
    model.writer.add_expert_used_count(2)
    model.writer.add_expert_feed_forward_length(INNER)
    model.random("output.weight", model.num_vocab, WIDTH)
    for prefix in layers():
        model.ones(f"{prefix}attn_norm.weight", WIDTH)
        model.attention(prefix)
        for part in ("q", "k", "v", "output"):
            model.random(f"{prefix}attn_{part}.bias", WIDTH, scale=0.1)
        model.random(f"{prefix}attn_sinks.weight", HEADS, scale=1.0)
        model.ones(f"{prefix}post_attention_norm.weight", WIDTH)
        model.random(f"{prefix}ffn_gate_inp.weight", EXPERTS, WIDTH)
        model.random(f"{prefix}ffn_gate_inp.bias", EXPERTS, scale=0.1)
        for part in ("gate", "up"):
            model.random(f"{prefix}ffn_{part}_exps.weight", EXPERTS, INNER, WIDTH)
            model.random(f"{prefix}ffn_{part}_exps.bias", EXPERTS, INNER, scale=0.1)
        model.random(f"{prefix}ffn_down_exps.weight", EXPERTS, WIDTH, INNER)
        model.random(f"{prefix}ffn_down_exps.bias", EXPERTS, WIDTH, scale=0.1)
    model.save()


def layers() -> list[str]:
    return [f"blk.{number}." for number in range(LAYERS)]


def t5_encoder(path: Path, vocabulary: Path) -> None:
    """Write a BERT with the tokenizer of T5, whose character map is empty."""
    encoder(path, vocabulary, prepare=_with_t5_tokenizer)


def _with_t5_tokenizer(model: TinyModel) -> None:
    model.writer.add_string("tokenizer.ggml.model", "t5")
    scores = [-float(number) for number in range(model.num_vocab)]
    model.writer.add_array("tokenizer.ggml.scores", scores)
    size = 4 * 1024  # of the map's array; behind it are the replacements
    content = size.to_bytes(4, "little") + bytes(size) + bytes(1)
    model.writer.add_key_value(
        CHARACTER_MAP, list(content), GGUFValueType.ARRAY, sub_type=GGUFValueType.UINT8
    )
