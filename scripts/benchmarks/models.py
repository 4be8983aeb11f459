"""Models for benchmarks: a random Qwen 3, and a guide that never ends its answer.

    <cache>/localrun/bench-models/qwen3-0.6b-Q4_K_M-1.gguf
    <cache>/localrun/bench-models/qwen3-0.6b-tiles-Q4_K_M-1.gguf   with tokens around images
    <cache>/localrun/bench-models/guide-<digest>-1.gguf

The output of the random model is noise, but its shapes, tokenizer, template and speed are those of
Qwen 3. No answer ends by itself, so both servers compute the same number of tokens: the end tokens
of the random model have zero weights, those of guide have another name. The number at the end of a
name is the version of the file's format in this module.
"""

from __future__ import annotations

import hashlib
import struct
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import environment
import gguf
import numpy as np

from benchmarks import peer
from localrun.engine.quantizing.quantize import quantize
from localrun.engine.quantizing.types import quantization

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GUIDE = environment.ROOT / "localrun" / "data" / "guide.gguf"
QUANTIZATION = "Q4_K_M"
VERSION = 1
SEED = 7
SPREAD = 0.02  # of the weights, as Qwen and Llama are initialized
END, NO_END = b"<|im_end|>", b"<|im_enX|>"  # of equal length, so that no offset changes
TILE_TOKENS = ("<fake_token_around_image>", "<global-img>", "<row_1_col_1>")
END_ID, OTHER_ID = 151645, 151643  # <|im_end|> and <|endoftext|> of Qwen's vocabulary


@dataclass(frozen=True, slots=True)
class Shape:
    """The dimensions of a Qwen 3."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head: int
    feed_forward: int


SHAPES = {
    "0.1b": Shape(8, 512, 8, 4, 64, 1536),
    "0.6b": Shape(28, 1024, 16, 8, 128, 3072),
    "1.7b": Shape(28, 2048, 16, 8, 128, 6144),
}
DRAFTER = Shape(1, 64, 1, 1, 64, 64)
NAMES = ("guide", *SHAPES)


def ensure_model(name: str, *, with_tiles: bool = False) -> Path:
    """Return the file of one of `NAMES`, created if it does not exist.

    ``with_tiles``: its vocabulary has the tokens that SmolVLM puts around the tiles of an image.
    """
    folder = bench_folder()
    folder.mkdir(parents=True, exist_ok=True)
    if name == "guide":
        return _endless_guide(folder)
    path = bench_model(f"{name}-tiles" if with_tiles else name)
    if not path.is_file():
        print(f"making a random model of {name} parameters ...", file=sys.stderr)
        plain = path.with_suffix(".f16")
        try:
            _write(plain, SHAPES[name], TILE_TOKENS if with_tiles else ())
            quantize(plain, path, quantization(QUANTIZATION), threads=2)
        finally:
            plain.unlink(missing_ok=True)
    return path


def write_drafter(path: Path, model: Path) -> None:
    """Write a model of one narrow layer with the vocabulary of ``model``: drafts at little cost."""
    reader = gguf.GGUFReader(model)
    num_tokens = len(reader.fields["tokenizer.ggml.tokens"].data)
    plain = path.with_suffix(".f16")
    writer = gguf.GGUFWriter(plain, "qwen3")
    _add_shape(writer, DRAFTER)
    for key, field in reader.fields.items():
        if key.startswith("tokenizer."):
            kinds = field.types
            value, kind = field.contents(), kinds[0]
            writer.add_key_value(key, value, kind, kinds[-1] if len(kinds) > 1 else None)
    kinds = np.full(num_tokens, gguf.TokenType.NORMAL)
    _finish(writer, DRAFTER, kinds)
    quantize(plain, path, quantization("Q4_0"), threads=2)
    plain.unlink()


def bench_model(name: str) -> Path:
    """Return the path of a random model, which may not exist."""
    return bench_folder() / f"qwen3-{name}-{QUANTIZATION}-{VERSION}.gguf"


def bench_folder() -> Path:
    """Return the folder of the benchmarks' models, which may not exist."""
    return environment.cache_folder() / "bench-models"


def _endless_guide(folder: Path) -> Path:
    """Copy guide with its end token renamed, so that llama.cpp treats it as an ordinary token.

    Key and template are renamed alike, so that prompts have the tokens they always have.
    """
    data = GUIDE.read_bytes()
    path = folder / f"guide-{hashlib.sha256(data).hexdigest()[:12]}-{VERSION}.gguf"
    if not path.is_file():
        _, padding = _u32(data, "bos_token_id")
        offset, _ = _u32(data, "eos_token_id")
        renamed = bytearray(data.replace(END, NO_END))
        renamed[offset : offset + 4] = struct.pack("<I", padding)
        partial = path.with_suffix(".partial")
        partial.write_bytes(renamed)
        partial.rename(path)
    return path


def _u32(data: bytes, key: str) -> tuple[int, int]:
    """Return the offset and the value of a number of the tokenizer."""
    name = f"tokenizer.ggml.{key}".encode()
    offset = data.index(name) + len(name) + 4  # behind the type of the value
    return offset, int(struct.unpack_from("<I", data, offset)[0])


def _write(path: Path, shape: Shape, controls: tuple[str, ...]) -> None:
    """Write the model in F16, with tied embeddings as in Qwen 3."""
    sources = peer.ensure_sources()
    writer = gguf.GGUFWriter(path, "qwen3", use_temp_file=True)
    _add_shape(writer, shape)
    kinds = _add_tokenizer(writer, sources, controls)
    _finish(writer, shape, kinds)


def _finish(writer: gguf.GGUFWriter, shape: Shape, kinds: np.ndarray) -> None:
    """Write the file with tensors of the shape."""
    for name, matrix in _tensors(shape, kinds):
        writer.add_tensor(name, matrix)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_shape(writer: gguf.GGUFWriter, shape: Shape) -> None:
    writer.add_name("random")
    writer.add_context_length(40960)
    writer.add_embedding_length(shape.hidden)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head)
    writer.add_value_length(shape.head)
    writer.add_rope_freq_base(1e6)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)


def _add_tokenizer(writer: gguf.GGUFWriter, sources: Path, controls: tuple[str, ...]) -> np.ndarray:
    """Copy Qwen's vocabulary and template; return the type of each token.

    ``controls`` take the places of unused tokens.
    """
    fields = gguf.GGUFReader(sources / "models" / "ggml-vocab-qwen2.gguf").fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    kinds = fields["tokenizer.ggml.token_type"].contents()
    end = END_ID + 1 + len(controls)
    tokens[END_ID + 1 : end] = controls
    kinds[END_ID + 1 : end] = [gguf.TokenType.CONTROL] * len(controls)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(fields["tokenizer.ggml.merges"].contents())
    writer.add_eos_token_id(END_ID)
    writer.add_pad_token_id(OTHER_ID)
    writer.add_bos_token_id(OTHER_ID)
    writer.add_add_bos_token(value=False)
    template = sources / "models" / "templates" / "Qwen-Qwen3-0.6B.jinja"
    writer.add_chat_template(template.read_text())
    return np.asarray(kinds)


def _tensors(shape: Shape, kinds: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    rng = np.random.default_rng(SEED)

    def matrix(rows: int, columns: int) -> np.ndarray:
        values = rng.standard_normal((rows, columns), dtype=np.float32)
        return (values * SPREAD).astype(np.float16)

    embeddings = matrix(len(kinds), shape.hidden)
    embeddings[kinds == gguf.TokenType.CONTROL] = 0  # a logit of 0, below many others
    yield "token_embd.weight", embeddings
    yield "output_norm.weight", np.ones(shape.hidden, np.float32)
    queries, keys = shape.heads * shape.head, shape.kv_heads * shape.head
    for layer in range(shape.layers):
        begin = f"blk.{layer}."
        for norm, size in [("attn", shape.hidden), ("ffn", shape.hidden)]:
            yield f"{begin}{norm}_norm.weight", np.ones(size, np.float32)
        for norm in ("attn_q", "attn_k"):
            yield f"{begin}{norm}_norm.weight", np.ones(shape.head, np.float32)
        yield f"{begin}attn_q.weight", matrix(queries, shape.hidden)
        yield f"{begin}attn_k.weight", matrix(keys, shape.hidden)
        yield f"{begin}attn_v.weight", matrix(keys, shape.hidden)
        yield f"{begin}attn_output.weight", matrix(shape.hidden, queries)
        yield f"{begin}ffn_gate.weight", matrix(shape.feed_forward, shape.hidden)
        yield f"{begin}ffn_up.weight", matrix(shape.feed_forward, shape.hidden)
        yield f"{begin}ffn_down.weight", matrix(shape.hidden, shape.feed_forward)
