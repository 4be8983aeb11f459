"""Tiny models with random weights, one for each kind of memory that llama.cpp has.

The vocabulary is guide's; the text that they write means nothing, but it depends
on every token before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from gguf import GGUFReader, GGUFValueType, GGUFWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

WIDTH, INNER, HEADS, LAYERS, CONTEXT = 64, 128, 4, 4, 2048
HEAD = WIDTH // HEADS
WINDOW = 16
RANK = 4  # llama.cpp's number of the pooling


class TinyModel:
    """A file being made: metadata, then tensors."""

    def __init__(
        self,
        path: Path,
        architecture: str,
        vocabulary: Path,
        *,
        context: int = CONTEXT,
        layers: int = LAYERS,
        width: int = WIDTH,
    ) -> None:
        self.writer = GGUFWriter(path, architecture)
        self._width = width
        self._random = np.random.default_rng(7)
        self.num_vocab = _copy_vocabulary(self.writer, vocabulary)
        self.writer.add_context_length(context)
        self.writer.add_embedding_length(width)
        self.writer.add_block_count(layers)
        self.writer.add_vocab_size(self.num_vocab)
        self.writer.add_layer_norm_rms_eps(1e-5)

    def random(self, name: str, *shape: int, scale: float | None = None) -> None:
        values = self._random.standard_normal(shape) * (scale or shape[-1] ** -0.5)
        self.writer.add_tensor(name, values.astype(np.float32))

    def ones(self, name: str, size: int) -> None:
        self.writer.add_tensor(name, np.ones(size, dtype=np.float32))

    def norm(self, name: str) -> None:
        self.ones(f"{name}.weight", WIDTH)
        self.random(f"{name}.bias", WIDTH, scale=0.1)

    def attention(self, prefix: str) -> None:
        for part in ("q", "k", "v", "output"):
            self.random(f"{prefix}attn_{part}.weight", WIDTH, WIDTH)

    def feed_forward(self, prefix: str) -> None:
        self.ones(f"{prefix}ffn_norm.weight", self._width)
        self.random(f"{prefix}ffn_gate.weight", INNER, self._width)
        self.random(f"{prefix}ffn_up.weight", INNER, self._width)
        self.random(f"{prefix}ffn_down.weight", self._width, INNER)

    def save(self) -> None:
        self.writer.write_header_to_file()
        self.writer.write_kv_data_to_file()
        self.writer.write_tensors_to_file()
        self.writer.close()


def full_attention(path: Path, vocabulary: Path, *, is_causal: bool = True) -> None:
    model = TinyModel(path, "llama", vocabulary)
    model.writer.add_causal_attention(is_causal)
    _with_heads(model, HEADS)
    model.random("token_embd.weight", model.num_vocab, WIDTH, scale=1.0)
    model.ones("output_norm.weight", WIDTH)
    for prefix in _layers():
        model.ones(f"{prefix}attn_norm.weight", WIDTH)
        model.attention(prefix)
        model.feed_forward(prefix)
    model.save()


def eagle3(
    path: Path,
    vocabulary: Path,
    layers: Sequence[int],
    *,
    has_ends: bool = True,
    target_width: int = WIDTH,
) -> None:
    """Make an EAGLE-3 head, with embeddings and output of its own or without."""
    model = TinyModel(path, "eagle3", vocabulary, layers=1)
    _with_heads(model, HEADS)
    model.writer.add_array("eagle3.target_layers", list(layers))
    model.writer.add_uint32("eagle3.target_hidden_size", target_width)
    model.random("fc.weight", WIDTH, target_width * len(layers))
    model.ones("output_norm.weight", WIDTH)
    if has_ends:
        model.random("token_embd.weight", model.num_vocab, WIDTH, scale=1.0)
        model.random("output.weight", model.num_vocab, WIDTH)
    model.ones("blk.0.attn_norm.weight", WIDTH)
    model.ones("blk.0.attn_norm_2.weight", WIDTH)
    for part in ("q", "k", "v"):
        model.random(f"blk.0.attn_{part}.weight", WIDTH, 2 * WIDTH)
    model.random("blk.0.attn_output.weight", WIDTH, WIDTH)
    model.feed_forward("blk.0.")
    model.save()


def dflash(
    path: Path,
    vocabulary: Path,
    layers: Sequence[int],
    *,
    has_ends: bool = True,
    target_width: int = WIDTH,
    block_size: int = 8,
    mask_token: int = 299,
) -> None:
    """Make a DFlash head of two layers, with embeddings and output of its own or without."""
    model = TinyModel(path, "dflash", vocabulary, layers=2, width=target_width)
    _with_heads(model, HEADS)
    model.writer.add_causal_attention(value=False)
    model.writer.add_array("dflash.target_layers", list(layers))
    model.writer.add_uint32("dflash.block_size", block_size)
    model.writer.add_uint32("tokenizer.ggml.mask_token_id", mask_token)
    model.random("fc.weight", target_width, target_width * len(layers))
    model.ones("enc.output_norm.weight", target_width)
    model.ones("output_norm.weight", target_width)
    if has_ends:
        model.random("token_embd.weight", model.num_vocab, target_width, scale=1.0)
        model.random("output.weight", model.num_vocab, target_width)
    for number in range(2):
        prefix = f"blk.{number}."
        model.ones(f"{prefix}attn_norm.weight", target_width)
        model.ones(f"{prefix}attn_q_norm.weight", target_width // HEADS)
        model.ones(f"{prefix}attn_k_norm.weight", target_width // HEADS)
        for part in ("q", "k", "v"):
            model.random(f"{prefix}attn_{part}.weight", target_width, target_width)
        # large, so that the tokens of a block differ
        model.random(f"{prefix}attn_output.weight", target_width, target_width, scale=1.0)
        model.feed_forward(prefix)
    model.save()


def sliding_window(path: Path, vocabulary: Path) -> None:
    model = TinyModel(path, "gemma3", vocabulary)
    _with_heads(model, HEADS)
    model.writer.add_key_length(HEAD)
    model.writer.add_value_length(HEAD)
    model.writer.add_sliding_window(WINDOW)
    model.random("token_embd.weight", model.num_vocab, WIDTH, scale=0.2)
    model.ones("output_norm.weight", WIDTH)
    for prefix in _layers():
        for norm in ("attn_norm", "post_attention_norm", "post_ffw_norm"):
            model.ones(f"{prefix}{norm}.weight", WIDTH)
        model.ones(f"{prefix}attn_q_norm.weight", HEAD)
        model.ones(f"{prefix}attn_k_norm.weight", HEAD)
        model.attention(prefix)
        model.feed_forward(prefix)
    model.save()


def hybrid(path: Path, vocabulary: Path) -> None:
    model = TinyModel(path, "lfm2", vocabulary)
    _with_heads(model, [0 if layer % 2 == 0 else HEADS for layer in range(LAYERS)])
    model.writer.add_shortconv_l_cache(3)
    model.random("token_embd.weight", model.num_vocab, WIDTH, scale=1.0)
    model.ones("token_embd_norm.weight", WIDTH)
    for number, prefix in enumerate(_layers()):
        model.ones(f"{prefix}attn_norm.weight", WIDTH)
        model.feed_forward(prefix)
        if number % 2 == 0:
            model.random(f"{prefix}shortconv.conv.weight", WIDTH, 3)
            model.random(f"{prefix}shortconv.in_proj.weight", 3 * WIDTH, WIDTH)
            model.random(f"{prefix}shortconv.out_proj.weight", WIDTH, WIDTH)
        else:
            model.attention(prefix)
            model.ones(f"{prefix}attn_q_norm.weight", HEAD)
            model.ones(f"{prefix}attn_k_norm.weight", HEAD)
    model.save()


def recurrent(path: Path, vocabulary: Path) -> None:
    inner, state, rank, window = 2 * WIDTH, 16, 4, 4
    model = TinyModel(path, "mamba", vocabulary)
    model.writer.add_feed_forward_length(0)
    model.writer.add_head_count(0)
    model.writer.add_ssm_conv_kernel(window)
    model.writer.add_ssm_inner_size(inner)
    model.writer.add_ssm_state_size(state)
    model.writer.add_ssm_time_step_rank(rank)
    model.random("token_embd.weight", model.num_vocab, WIDTH, scale=1.0)
    model.ones("output_norm.weight", WIDTH)
    for prefix in _layers():
        model.ones(f"{prefix}attn_norm.weight", WIDTH)
        model.random(f"{prefix}ssm_in.weight", 2 * inner, WIDTH)
        model.random(f"{prefix}ssm_conv1d.weight", inner, window)
        model.ones(f"{prefix}ssm_conv1d.bias", inner)
        model.random(f"{prefix}ssm_x.weight", rank + 2 * state, inner)
        model.random(f"{prefix}ssm_dt.weight", inner, rank)
        model.ones(f"{prefix}ssm_dt.bias", inner)
        decay = -np.tile(np.arange(1, state + 1, dtype=np.float32), (inner, 1))
        model.writer.add_tensor(f"{prefix}ssm_a", decay)
        model.ones(f"{prefix}ssm_d", inner)
        model.random(f"{prefix}ssm_out.weight", WIDTH, inner)
    model.save()


@dataclass(frozen=True)
class AdaptedShape:
    width: int = WIDTH
    inner: int = INNER
    layers: int = LAYERS


def adapter(path: Path, architecture: str, seed: int, shape: AdaptedShape = AdaptedShape()) -> None:
    """Write a random LoRA for the feed-forward layers, by default of the models above."""
    rank = 4
    random = np.random.default_rng(seed)
    writer = GGUFWriter(path, architecture)
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 4 * rank)
    parts = (("up", shape.width, shape.inner), ("down", shape.inner, shape.width))
    for number in range(shape.layers):
        for part, width, height in parts:
            name = f"blk.{number}.ffn_{part}.weight"
            a, b = random.standard_normal((rank, width)), random.standard_normal((height, rank))
            writer.add_tensor(f"{name}.lora_a", (a * width**-0.5).astype(np.float32))
            writer.add_tensor(f"{name}.lora_b", (b * rank**-0.5).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def encoder(
    path: Path,
    vocabulary: Path,
    *,
    pooling: int = 1,
    context: int = CONTEXT,
    prepare: Callable[[TinyModel], None] = lambda _model: None,
) -> None:
    """Write a BERT; with pooling 4 it has a head that ranks. ``prepare`` may add keys."""
    model = TinyModel(path, "bert", vocabulary, context=context)
    prepare(model)
    _with_heads(model, HEADS)
    model.writer.add_layer_norm_eps(1e-12)
    model.writer.add_causal_attention(value=False)
    model.writer.add_uint32("bert.pooling_type", pooling)
    model.writer.add_token_type_count(2)
    model.random("token_embd.weight", model.num_vocab, WIDTH, scale=1.0)
    model.random("token_types.weight", 2, WIDTH)
    model.random("position_embd.weight", context, WIDTH, scale=0.5)
    model.norm("token_embd_norm")
    for prefix in _layers():
        model.attention(prefix)
        model.random(f"{prefix}ffn_up.weight", INNER, WIDTH)
        model.random(f"{prefix}ffn_down.weight", WIDTH, INNER)
        model.norm(f"{prefix}attn_output_norm")
        model.norm(f"{prefix}layer_output_norm")
    if pooling == RANK:
        model.random("cls.weight", WIDTH, WIDTH)
        model.random("cls.bias", WIDTH, scale=0.3)
        model.random("cls.output.weight", 1, WIDTH)
        model.random("cls.output.bias", 1)
    model.save()


KINDS: dict[str, Callable[[Path, Path], None]] = {
    kind.__name__: kind for kind in (full_attention, sliding_window, hybrid, recurrent)
}


def _layers() -> list[str]:
    return [f"blk.{number}." for number in range(LAYERS)]


def _with_heads(model: TinyModel, num_kv: int | list[int]) -> None:
    model.writer.add_feed_forward_length(INNER)
    model.writer.add_head_count(HEADS)
    model.writer.add_head_count_kv(num_kv)
    model.writer.add_rope_freq_base(10000.0)


def _copy_vocabulary(writer: GGUFWriter, source: Path) -> int:
    fields = GGUFReader(source).fields
    for name, field in fields.items():
        if not name.startswith("tokenizer.ggml."):
            continue
        value: Any = field.contents()
        is_array = field.types[0] is GGUFValueType.ARRAY
        inner = field.types[1] if is_array else None
        writer.add_key_value(name, value, field.types[0], sub_type=inner)
    return len(fields["tokenizer.ggml.tokens"].data)
