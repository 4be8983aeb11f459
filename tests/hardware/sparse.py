"""Models as large as real ones that take no disk: true headers, and a hole for the weights.

llama.cpp tells the memory that it would take of them without reading a weight; see
``measured.py``. The sizes are those of well-known models.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

Q4, Q8, F32 = GGMLQuantizationType.Q4_K, GGMLQuantizationType.Q8_0, GGMLQuantizationType.F32
ALIGNMENT = 32


class SparseModel:
    """A file being made; sizes of tensors are as ggml has them, the fastest dimension first."""

    def __init__(self, path: Path, architecture: str, *, kind: GGMLQuantizationType = Q8) -> None:
        self.writer = GGUFWriter(path, architecture)
        self._path = path
        self._architecture = architecture
        self._kind = kind
        self._num_bytes = 0
        self.writer.add_string("tokenizer.ggml.model", "no_vocab")

    def numbers(self, **values: float | list[int]) -> None:
        """Add metadata of the architecture; ``__`` stands for a dot."""
        for name, value in values.items():
            key = f"{self._architecture}.{name.replace('__', '.')}"
            if isinstance(value, list):
                self.writer.add_array(key, value)
            elif isinstance(value, int):
                self.writer.add_uint32(key, value)
            else:
                self.writer.add_float32(key, value)

    def weight(self, name: str, *sizes: int) -> None:
        """Add a tensor of two dimensions or more in the model's type, of one as F32."""
        fits = len(sizes) > 1 and sizes[0] % GGML_QUANT_SIZES[self._kind][0] == 0
        kind = self._kind if fits else F32
        self._add(f"{name}.weight", sizes, kind)

    def exact(self, name: str, *sizes: int) -> None:
        """Add a tensor of F32 under its full name."""
        self._add(name, sizes, F32)

    def save(self) -> None:
        self.writer.write_header_to_file()
        self.writer.write_kv_data_to_file()
        self.writer.write_ti_data_to_file()
        self.writer.close()
        start = -(-self._path.stat().st_size // ALIGNMENT) * ALIGNMENT
        os.truncate(self._path, start + self._num_bytes)

    def _add(self, name: str, sizes: Sequence[int], kind: GGMLQuantizationType) -> None:
        block, block_bytes = GGML_QUANT_SIZES[kind]
        num_bytes = int(np.prod(sizes)) // block * block_bytes
        shape = list(reversed(sizes))
        if kind is not F32:
            shape[-1] = shape[-1] // block * block_bytes
        dtype = np.dtype(np.float32 if kind is F32 else np.uint8)
        self.writer.add_tensor_info(name, shape, dtype, num_bytes, raw_dtype=kind)
        self._num_bytes += -(-num_bytes // ALIGNMENT) * ALIGNMENT


def dense(
    architecture: str,
    *,
    layers: int,
    width: int,
    heads: int,
    kv_heads: int,
    inner: int,
    vocabulary: int,
    head: int = 0,
    kind: GGMLQuantizationType = Q8,
    is_tied: bool = False,
    has_norms: bool = False,
    has_biases: bool = False,
) -> Callable[[Path], None]:
    """Return what makes a plain transformer."""

    def make(path: Path) -> None:
        model = SparseModel(path, architecture, kind=kind)
        size = head or width // heads
        _numbers(model, layers, width, vocabulary)
        model.numbers(feed_forward_length=inner, attention__head_count=heads)
        model.numbers(attention__head_count_kv=kv_heads, attention__key_length=size)
        model.numbers(attention__value_length=size, rope__dimension_count=size)
        _ends(model, width, vocabulary, is_tied=is_tied)
        for prefix in _prefixes(layers):
            _attention(model, prefix, width, (heads * size, kv_heads * size))
            if has_norms:
                model.weight(f"{prefix}attn_q_norm", size)
                model.weight(f"{prefix}attn_k_norm", size)
            if has_biases:
                model.exact(f"{prefix}attn_q.bias", heads * size)
                model.exact(f"{prefix}attn_k.bias", kv_heads * size)
                model.exact(f"{prefix}attn_v.bias", kv_heads * size)
            _feed_forward(model, prefix, width, inner)
        model.save()

    return make


def experts(path: Path) -> None:
    """Make the shape of Qwen3 30B-A3B."""
    layers, width, inner, count = 48, 2048, 768, 128
    model = SparseModel(path, "qwen3moe", kind=Q4)
    _numbers(model, layers, width, 151936)
    model.numbers(feed_forward_length=6144, attention__head_count=32, attention__head_count_kv=4)
    model.numbers(attention__key_length=128, attention__value_length=128)
    model.numbers(expert_count=count, expert_used_count=8, expert_feed_forward_length=inner)
    _ends(model, width, 151936)
    for prefix in _prefixes(layers):
        _attention(model, prefix, width, (4096, 512))
        model.weight(f"{prefix}attn_q_norm", 128)
        model.weight(f"{prefix}attn_k_norm", 128)
        model.weight(f"{prefix}ffn_norm", width)
        _experts(model, prefix, width, (inner, count))
    model.save()


def windowed(path: Path) -> None:
    """Make the shape of Gemma 3 4B: five layers with a window, one without."""
    layers, width, head = 34, 2560, 256
    model = SparseModel(path, "gemma3")
    _numbers(model, layers, width, 262144)
    model.numbers(feed_forward_length=10240, attention__head_count=8, attention__head_count_kv=4)
    model.numbers(attention__key_length=head, attention__value_length=head)
    model.numbers(attention__sliding_window=1024)
    _ends(model, width, 262144, is_tied=True)
    for prefix in _prefixes(layers):
        _attention(model, prefix, width, (8 * head, 4 * head))
        model.weight(f"{prefix}attn_q_norm", head)
        model.weight(f"{prefix}attn_k_norm", head)
        model.weight(f"{prefix}post_attention_norm", width)
        model.weight(f"{prefix}post_ffw_norm", width)
        _feed_forward(model, prefix, width, 10240)
    model.save()


def windowed_experts(path: Path) -> None:
    """Make the shape of gpt-oss 20B, in Q8_0."""
    layers, width, count, head = 24, 2880, 32, 64
    model = SparseModel(path, "gpt-oss")
    _numbers(model, layers, width, 201088)
    model.numbers(feed_forward_length=2880, attention__head_count=64, attention__head_count_kv=8)
    model.numbers(attention__key_length=head, attention__value_length=head)
    model.numbers(attention__sliding_window=128, rope__dimension_count=head)
    model.numbers(expert_count=count, expert_used_count=4, expert_feed_forward_length=width)
    _ends(model, width, 201088)
    for prefix in _prefixes(layers):
        _attention(model, prefix, width, (64 * head, 8 * head))
        for part, size in (("q", 4096), ("k", 512), ("v", 512), ("output", width)):
            model.exact(f"{prefix}attn_{part}.bias", size)
        model.weight(f"{prefix}post_attention_norm", width)
        model.exact(f"{prefix}attn_sinks.weight", 64)
        _experts(model, prefix, width, (width, count))
        model.exact(f"{prefix}ffn_gate_inp.bias", count)
        for part in ("gate", "up", "down"):
            model.exact(f"{prefix}ffn_{part}_exps.bias", width, count)
    model.save()


def latent(path: Path) -> None:
    """Make the shape of DeepSeek V2 Lite: keys and values as one latent vector (MLA)."""
    layers, width, rank, rope, nope, heads, count = 27, 2048, 512, 64, 128, 16, 64
    model = SparseModel(path, "deepseek2", kind=Q4)
    _numbers(model, layers, width, 102400)
    model.numbers(feed_forward_length=10944, attention__head_count=heads)
    model.numbers(attention__head_count_kv=1, leading_dense_block_count=1)
    model.numbers(attention__kv_lora_rank=rank, attention__key_length=rank + rope)
    model.numbers(attention__value_length=rank, attention__key_length_mla=nope + rope)
    model.numbers(attention__value_length_mla=nope, rope__dimension_count=rope)
    model.numbers(expert_count=count, expert_used_count=6, expert_shared_count=2)
    model.numbers(expert_feed_forward_length=1408, expert_weights_scale=1.0)
    _ends(model, width, 102400)
    for number, prefix in enumerate(_prefixes(layers)):
        model.weight(f"{prefix}attn_norm", width)
        model.weight(f"{prefix}attn_q", width, heads * (nope + rope))
        model.weight(f"{prefix}attn_kv_a_mqa", width, rank + rope)
        model.weight(f"{prefix}attn_kv_a_norm", rank)
        model.weight(f"{prefix}attn_k_b", nope, rank, heads)
        model.weight(f"{prefix}attn_v_b", rank, nope, heads)
        model.weight(f"{prefix}attn_output", heads * nope, width)
        if number == 0:
            _feed_forward(model, prefix, width, 10944)
            continue
        model.weight(f"{prefix}ffn_norm", width)
        _experts(model, prefix, width, (1408, count))
        model.weight(f"{prefix}ffn_gate_shexp", width, 2816)
        model.weight(f"{prefix}ffn_up_shexp", width, 2816)
        model.weight(f"{prefix}ffn_down_shexp", 2816, width)
    model.save()


def short_convolutions(path: Path) -> None:
    """Make the shape of LFM2 1.2B: six layers of attention among sixteen."""
    layers, width, inner, attending = 16, 2048, 8192, (2, 5, 8, 10, 12, 14)
    model = SparseModel(path, "lfm2")
    _numbers(model, layers, width, 65536)
    model.numbers(feed_forward_length=inner, attention__head_count=32)
    model.numbers(attention__head_count_kv=[8 if it in attending else 0 for it in range(layers)])
    model.numbers(shortconv__l_cache=3)
    model.weight("token_embd", width, 65536)
    model.weight("token_embd_norm", width)
    for number, prefix in enumerate(_prefixes(layers)):
        _feed_forward(model, prefix, width, inner)
        if number in attending:
            _attention(model, prefix, width, (width, 512))
            model.weight(f"{prefix}attn_q_norm", 64)
            model.weight(f"{prefix}attn_k_norm", 64)
            continue
        model.weight(f"{prefix}attn_norm", width)
        model.weight(f"{prefix}shortconv.conv", 3, width)
        model.weight(f"{prefix}shortconv.in_proj", width, 3 * width)
        model.weight(f"{prefix}shortconv.out_proj", width, width)
    model.save()


def recurrent(path: Path) -> None:
    """Make the shape of Mamba 2.8B."""
    layers, width, inner, state, rank = 64, 2560, 5120, 16, 160
    model = SparseModel(path, "mamba")
    _numbers(model, layers, width, 50280)
    model.numbers(feed_forward_length=0, attention__head_count=0, ssm__conv_kernel=4)
    model.numbers(ssm__inner_size=inner, ssm__state_size=state, ssm__time_step_rank=rank)
    _ends(model, width, 50280, is_tied=True)
    for prefix in _prefixes(layers):
        model.weight(f"{prefix}attn_norm", width)
        model.weight(f"{prefix}ssm_in", width, 2 * inner)
        model.weight(f"{prefix}ssm_conv1d", 4, inner)
        model.exact(f"{prefix}ssm_conv1d.bias", inner)
        model.weight(f"{prefix}ssm_x", inner, rank + 2 * state)
        model.weight(f"{prefix}ssm_dt", rank, inner)
        model.exact(f"{prefix}ssm_dt.bias", inner)
        model.exact(f"{prefix}ssm_a", state, inner)
        model.exact(f"{prefix}ssm_d", inner)
        model.weight(f"{prefix}ssm_out", inner, width)
    model.save()


def linear_attention(path: Path) -> None:
    """Make the shape of Qwen3-Next 80B cut to 24 layers: three of four are delta nets."""
    layers, width, state, groups, rank, count = 24, 2048, 128, 16, 32, 512
    keys, values = state * groups, state * rank
    model = SparseModel(path, "qwen3next", kind=Q4)
    _numbers(model, layers, width, 151936)
    model.numbers(feed_forward_length=5120, attention__head_count=16, attention__head_count_kv=2)
    model.numbers(attention__key_length=256, attention__value_length=256)
    model.numbers(rope__dimension_count=64, expert_count=count, expert_used_count=10)
    model.numbers(expert_feed_forward_length=512, expert_shared_feed_forward_length=512)
    model.numbers(ssm__conv_kernel=4, ssm__inner_size=values, ssm__state_size=state)
    model.numbers(ssm__time_step_rank=rank, ssm__group_count=groups)
    _ends(model, width, 151936)
    for number, prefix in enumerate(_prefixes(layers)):
        model.weight(f"{prefix}post_attention_norm", width)
        if number % 4 == 3:
            _attention(model, prefix, width, (8192, 512), out=4096)
            model.weight(f"{prefix}attn_q_norm", 256)
            model.weight(f"{prefix}attn_k_norm", 256)
        else:
            model.weight(f"{prefix}attn_norm", width)
            model.weight(f"{prefix}attn_qkv", width, 2 * keys + values)
            model.weight(f"{prefix}attn_gate", width, values)
            model.weight(f"{prefix}ssm_conv1d", 4, 2 * keys + values)
            model.exact(f"{prefix}ssm_dt.bias", rank)
            model.exact(f"{prefix}ssm_a", rank)
            model.weight(f"{prefix}ssm_ba", width, 2 * rank)
            model.weight(f"{prefix}ssm_norm", state)
            model.weight(f"{prefix}ssm_out", values, width)
        _experts(model, prefix, width, (512, count))
        model.weight(f"{prefix}ffn_gate_inp_shexp", width)
        model.weight(f"{prefix}ffn_gate_shexp", width, 512)
        model.weight(f"{prefix}ffn_up_shexp", width, 512)
        model.weight(f"{prefix}ffn_down_shexp", 512, width)
    model.save()


def shared_cells(path: Path) -> None:
    """Make the shape of Gemma 3n E2B: layers behind the twentieth have no cells of their own."""
    layers, width, inner, head, beside, copies, rank = 30, 2048, 8192, 256, 256, 4, 64
    model = SparseModel(path, "gemma3n")
    _numbers(model, layers, width, 262144)
    model.numbers(feed_forward_length=inner, attention__head_count=8, attention__head_count_kv=2)
    model.numbers(attention__key_length=head, attention__value_length=head)
    model.numbers(attention__sliding_window=512)
    _ends(model, width, 262144, is_tied=True)
    model.weight("altup_proj", width, width, copies - 1)
    model.weight("altup_unembd_proj", width, width, copies - 1)
    model.weight("per_layer_token_embd", beside * layers, 262144)
    model.weight("per_layer_model_proj", width, beside * layers)
    model.weight("per_layer_proj_norm", beside)
    for prefix in _prefixes(layers):
        _attention(model, prefix, width, (8 * head, 2 * head))
        model.weight(f"{prefix}attn_q_norm", head)
        model.weight(f"{prefix}attn_k_norm", head)
        model.weight(f"{prefix}post_attention_norm", width)
        _feed_forward(model, prefix, width, inner)
        model.weight(f"{prefix}post_ffw_norm", width)
        model.weight(f"{prefix}inp_gate", width, beside)
        model.weight(f"{prefix}proj", beside, width)
        model.weight(f"{prefix}post_norm", width)
        model.exact(f"{prefix}altup_correct_coef.weight", copies, copies)
        model.exact(f"{prefix}altup_correct_scale.weight", width)
        model.exact(f"{prefix}altup_predict_coef.weight", copies, copies * copies)
        model.exact(f"{prefix}altup_router.weight", width, copies)
        model.weight(f"{prefix}altup_router_norm", width)
        model.weight(f"{prefix}laurel_l", width, rank)
        model.weight(f"{prefix}laurel_r", rank, width)
        model.weight(f"{prefix}laurel_post_norm", width)
    model.save()


SHAPES: dict[str, Callable[[Path], None]] = {
    "qwen3 0.6B": dense(
        "qwen3", layers=28, width=1024, heads=16, kv_heads=8, inner=3072, vocabulary=151936,
        head=128, is_tied=True, has_norms=True,
    ),
    "llama 8B": dense(
        "llama", layers=32, width=4096, heads=32, kv_heads=8, inner=14336, vocabulary=128256
    ),
    "llama 70B": dense(
        "llama", layers=80, width=8192, heads=64, kv_heads=8, inner=28672, vocabulary=128256,
        kind=Q4,
    ),
    "qwen2 7B": dense(
        "qwen2", layers=28, width=3584, heads=28, kv_heads=4, inner=18944, vocabulary=152064,
        has_biases=True,
    ),
    "llama 13B, no shared heads": dense(
        "llama", layers=40, width=5120, heads=40, kv_heads=40, inner=13824, vocabulary=32000,
        kind=Q4,
    ),
    "qwen3moe 30B": experts,
    "gemma3 4B": windowed,
    "gpt-oss 20B": windowed_experts,
    "deepseek2 16B": latent,
    "lfm2 1.2B": short_convolutions,
    "mamba 2.8B": recurrent,
    "qwen3next 40B": linear_attention,
    "gemma3n E2B": shared_cells,
}  # fmt: skip


def _numbers(model: SparseModel, layers: int, width: int, vocabulary: int) -> None:
    model.numbers(block_count=layers, embedding_length=width, vocab_size=vocabulary)
    model.numbers(context_length=131072, rope__freq_base=1e6)
    model.numbers(attention__layer_norm_rms_epsilon=1e-5)


def _ends(model: SparseModel, width: int, vocabulary: int, *, is_tied: bool = False) -> None:
    model.weight("token_embd", width, vocabulary)
    model.weight("output_norm", width)
    if not is_tied:
        model.weight("output", width, vocabulary)


def _attention(
    model: SparseModel, prefix: str, width: int, sizes: tuple[int, int], *, out: int = 0
) -> None:
    queries, keys = sizes
    model.weight(f"{prefix}attn_norm", width)
    model.weight(f"{prefix}attn_q", width, queries)
    model.weight(f"{prefix}attn_k", width, keys)
    model.weight(f"{prefix}attn_v", width, keys)
    model.weight(f"{prefix}attn_output", out or queries, width)


def _feed_forward(model: SparseModel, prefix: str, width: int, inner: int) -> None:
    model.weight(f"{prefix}ffn_norm", width)
    model.weight(f"{prefix}ffn_gate", width, inner)
    model.weight(f"{prefix}ffn_up", width, inner)
    model.weight(f"{prefix}ffn_down", inner, width)


def _experts(model: SparseModel, prefix: str, width: int, sizes: tuple[int, int]) -> None:
    inner, count = sizes
    model.exact(f"{prefix}ffn_gate_inp.weight", width, count)
    model.weight(f"{prefix}ffn_gate_exps", width, inner, count)
    model.weight(f"{prefix}ffn_up_exps", width, inner, count)
    model.weight(f"{prefix}ffn_down_exps", inner, width, count)


def _prefixes(layers: int) -> list[str]:
    return [f"blk.{number}." for number in range(layers)]
