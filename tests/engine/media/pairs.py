"""Tiny pairs of a text model and a projector, with random weights, one for each kind of media.

    janus      one image of a fixed size is one chunk; nothing stands around it
    idefics3   tiles and an overview, a chunk each, with text between them
    qwen25vl   any size; M-RoPE, so that an image has fewer positions than tokens
    qwen3vl    M-RoPE, and embeddings wider than those of the text (deepstack)
    gemma3     the tokens of an image see each other; sliding window
    ultravox   sounds, in chunks of 30 s
    omni       images and sounds in one file
    hybrid     a text model with states; images

The tokenizer is guide's, with the family's control tokens behind it. Answers mean nothing, but they
are the same each time, and depend on the image.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
from gguf import GGUFReader, GGUFValueType, GGUFWriter, LlamaFileType, TokenType

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

WIDTH, INNER, LAYERS, HEADS, HEAD = 128, 256, 2, 4, 32  # of text models
EYE_WIDTH, EYE_INNER, EYE_LAYERS, EYE_HEADS = 64, 128, 2, 2  # of encoders
SIDE, PATCH = 64, 8
IMAGES = ("janus", "idefics3", "qwen25vl", "qwen3vl", "gemma3", "omni", "hybrid")
FAMILIES = (*IMAGES, "ultravox")
GRID = 6  # rows and columns of tiles that idefics3 has tokens for
VISION = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>")
CONTROLS: dict[str, tuple[str, ...]] = {
    "idefics3": (
        "<fake_token_around_image>",
        "<global-img>",
        "<end_of_utterance>",
        *(f"<row_{row}_col_{col}>" for row in range(1, GRID + 1) for col in range(1, GRID + 1)),
    ),
    "qwen25vl": VISION,
    "qwen3vl": VISION,
    "gemma3": ("<start_of_image>", "<end_of_image>"),
}
ARCHITECTURES = {"qwen25vl": "qwen2vl", "qwen3vl": "qwen3vl", "gemma3": "gemma3", "hybrid": "lfm2"}
PROJECTORS = {
    "janus": "janus_pro", "idefics3": "idefics3", "qwen25vl": "qwen2.5vl_merger",
    "qwen3vl": "qwen3vl_merger", "gemma3": "gemma3", "ultravox": "ultravox", "hybrid": "janus_pro",
}  # fmt: skip
TWO_LINE_ENDS = "ĊĊ"  # one token that idefics3 looks for


JOINED = 2  # patches along each side of an embedding of idefics3


def write_pair(
    folder: Path, family: str, vocabulary: Path, joined: int = JOINED
) -> tuple[Path, Path]:
    """Write the two files of a family; return the paths of text model and projector.

    If ``joined`` does not divide the patches of a side, idefics3 aborts the process that encodes.
    """
    text, projector = folder / f"{family}.gguf", folder / f"{family}.mmproj.gguf"
    _write_text_model(text, family, vocabulary)
    _write_projector(projector, family, joined)
    return text, projector


class _File:
    """A file being written; a tensor's values depend on its name only."""

    def __init__(self, path: Path, architecture: str) -> None:
        self.writer = GGUFWriter(path, architecture)

    def random(self, name: str, *shape: int, scale: float = 1.0) -> None:
        """Add a matrix or kernel, scaled by the number of its inputs."""
        values = self._values(name, shape) * (scale / np.sqrt(np.prod(shape[1:])))
        self.writer.add_tensor(name, values.astype(np.float16))

    def table(self, name: str, rows: int, width: int, scale: float = 0.3) -> None:
        self.writer.add_tensor(name, (self._values(name, (rows, width)) * scale).astype(np.float32))

    def filled(self, name: str, *shape: int, value: float = 0.0) -> None:
        self.writer.add_tensor(name, np.full(shape, value, dtype=np.float32))

    def ones(self, name: str, size: int, value: float = 1.0) -> None:
        self.filled(name, size, value=value)

    def numbers(self, prefix: str, values: dict[str, int]) -> None:
        for key, value in values.items():
            self.writer.add_uint32(f"{prefix}.{key}", value)

    def save(self) -> None:
        self.writer.write_header_to_file()
        self.writer.write_kv_data_to_file()
        self.writer.write_tensors_to_file()
        self.writer.close()

    @staticmethod
    def _values(name: str, shape: Sequence[int]) -> np.ndarray:
        return np.random.default_rng(zlib.crc32(name.encode())).standard_normal(tuple(shape))


def _write_text_model(path: Path, family: str, vocabulary: Path) -> None:
    architecture = ARCHITECTURES.get(family, "llama")
    file = _File(path, architecture)
    num_vocab = _copy_vocabulary(file.writer, vocabulary, CONTROLS.get(family, ()))
    _add_text_metadata(file.writer, family, architecture, num_vocab)
    scale = 1.0 if family == "gemma3" else 0.3 * WIDTH**0.5
    file.random("token_embd.weight", num_vocab, WIDTH, scale=scale)
    is_hybrid = family == "hybrid"
    file.ones("token_embd_norm.weight" if is_hybrid else "output_norm.weight", WIDTH)
    for number in range(LAYERS):
        prefix = f"blk.{number}."
        file.ones(f"{prefix}attn_norm.weight", WIDTH)
        file.ones(f"{prefix}ffn_norm.weight", WIDTH)
        for part, rows, columns in (
            ("gate", INNER, WIDTH),
            ("up", INNER, WIDTH),
            ("down", WIDTH, INNER),
        ):
            file.random(f"{prefix}ffn_{part}.weight", rows, columns)
        if is_hybrid and number == 0:
            file.table(f"{prefix}shortconv.conv.weight", WIDTH, 3)
            file.random(f"{prefix}shortconv.in_proj.weight", 3 * WIDTH, WIDTH, scale=2.0)
            file.random(f"{prefix}shortconv.out_proj.weight", WIDTH, WIDTH, scale=2.0)
        else:
            _add_attention(file, prefix, family)
    file.save()


def _add_attention(file: _File, prefix: str, family: str) -> None:
    """Add attention that is strong, so that answers depend on the whole prompt."""
    rows = {"q": HEADS * HEAD, "k": HEADS // 2 * HEAD, "v": HEADS // 2 * HEAD}
    for part, scale in (("q", 2.0), ("k", 2.0), ("v", 1.0)):
        file.random(f"{prefix}attn_{part}.weight", rows[part], WIDTH, scale=scale)
        if family == "qwen25vl":
            file.filled(f"{prefix}attn_{part}.bias", rows[part])
    file.random(f"{prefix}attn_output.weight", WIDTH, HEADS * HEAD, scale=3.0)
    if family in {"gemma3", "qwen3vl", "hybrid"}:
        file.ones(f"{prefix}attn_q_norm.weight", HEAD, 2.0)
        file.ones(f"{prefix}attn_k_norm.weight", HEAD, 2.0)
    if family == "gemma3":
        file.ones(f"{prefix}post_attention_norm.weight", WIDTH, 3.0)
        file.ones(f"{prefix}post_ffw_norm.weight", WIDTH)


def _add_text_metadata(writer: GGUFWriter, family: str, architecture: str, num_vocab: int) -> None:
    writer.add_name(f"tiny {family}")
    writer.add_context_length(8192)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv([0, HEADS // 2] if family == "hybrid" else HEADS // 2)
    writer.add_key_length(HEAD)
    writer.add_value_length(HEAD)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(HEAD)
    writer.add_vocab_size(num_vocab)
    writer.add_file_type(LlamaFileType.MOSTLY_F16)
    if family == "hybrid":
        writer.add_shortconv_l_cache(3)
    if family in {"qwen25vl", "qwen3vl"}:
        writer.add_rope_dimension_sections([4, 6, 6, 0])  # of half a head
    if family == "qwen3vl":
        writer.add_uint32(f"{architecture}.n_deepstack_layers", 1)
    if family == "gemma3":
        writer.add_sliding_window(64)
        writer.add_uint32(f"{architecture}.attention.sliding_window_pattern", 2)


def _copy_vocabulary(writer: GGUFWriter, source: Path, controls: Sequence[str]) -> int:
    """Copy a tokenizer with more control tokens at its end; return the number of tokens."""
    fields = GGUFReader(source).fields
    tokens = [*map(str, fields["tokenizer.ggml.tokens"].contents()), *controls]
    types = [*map(int, fields["tokenizer.ggml.token_type"].contents())]
    types += [int(TokenType.CONTROL)] * len(controls)
    if controls and TWO_LINE_ENDS not in tokens:
        tokens, types = [*tokens, TWO_LINE_ENDS], [*types, int(TokenType.NORMAL)]
    written = {"tokenizer.ggml.tokens", "tokenizer.ggml.token_type"}
    for name, field in fields.items():
        if name.startswith("tokenizer.") and name not in written:
            value: Any = field.contents()
            inner = field.types[-1] if field.types[0] is GGUFValueType.ARRAY else None
            writer.add_key_value(name, value, field.types[0], sub_type=inner)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    return len(tokens)


def _write_projector(path: Path, family: str, joined: int) -> None:
    file = _File(path, "clip")
    writer = file.writer
    sees, hears = family != "ultravox", family in {"ultravox", "omni"}
    writer.add_type("mmproj")
    writer.add_name(f"tiny {family}")
    writer.add_file_type(LlamaFileType.MOSTLY_F16)
    writer.add_bool("clip.has_vision_encoder", sees)
    writer.add_bool("clip.has_audio_encoder", hears)
    if family == "omni":
        writer.add_string("clip.vision.projector_type", "janus_pro")
        writer.add_string("clip.audio.projector_type", "ultravox")
    else:
        writer.add_string("clip.projector_type", PROJECTORS[family])
    if sees:
        _add_eye(file, family, joined)
    if hears:
        _add_ear(file)
    file.save()


def _add_eye(file: _File, family: str, joined: int) -> None:
    writer, is_dynamic = file.writer, family in {"qwen25vl", "qwen3vl"}
    activation = "silu" if family == "qwen25vl" else "gelu"
    writer.add_bool(f"clip.use_{activation}", True)  # noqa: FBT003
    sizes = {
        "image_size": SIDE, "patch_size": PATCH, "embedding_length": EYE_WIDTH,
        "feed_forward_length": EYE_INNER, "block_count": EYE_LAYERS, "projection_dim": WIDTH,
            "attention.head_count": EYE_HEADS,
    }  # fmt: skip
    if family in {"idefics3", "gemma3"}:
        sizes["projector.scale_factor"] = joined
    if family == "idefics3":
        sizes["preproc_image_size"] = 3 * SIDE
    if is_dynamic:
        sizes["spatial_merge_size"] = 2
    if family == "qwen25vl":
        sizes["n_wa_pattern"] = 2
    file.numbers("clip.vision", sizes)
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", 1e-6)
    writer.add_array("clip.vision.image_mean", [0.5, 0.5, 0.5])
    writer.add_array("clip.vision.image_std", [0.5, 0.5, 0.5])
    file.random("v.patch_embd.weight", EYE_WIDTH, 3, PATCH, PATCH, scale=2.0)
    if is_dynamic:
        file.random("v.patch_embd.weight.1", EYE_WIDTH, 3, PATCH, PATCH)
    has_bias = family != "qwen25vl"
    if has_bias:
        file.filled("v.patch_embd.bias", EYE_WIDTH)
        file.table("v.position_embd.weight", (SIDE // PATCH) ** 2, EYE_WIDTH)
        file.filled("v.post_ln.bias", EYE_WIDTH)
    file.ones("v.post_ln.weight", EYE_WIDTH)
    _add_encoder_layers(file, "v", family)
    _add_projection(file, family, joined)


def _add_projection(file: _File, family: str, joined: int) -> None:
    merged = joined**2 * EYE_WIDTH
    if family == "idefics3":
        file.random("mm.model.fc.weight", WIDTH, merged)
    elif family == "gemma3":
        file.random("mm.input_projection.weight", EYE_WIDTH, WIDTH)  # transposed, unlike all others
        file.ones("mm.soft_emb_norm.weight", EYE_WIDTH)
    else:
        is_dynamic = family in {"qwen25vl", "qwen3vl"}
        first, second = (
            ((merged, merged), (WIDTH, merged))
            if is_dynamic
            else ((WIDTH, EYE_WIDTH), (WIDTH, WIDTH))
        )
        for number, (rows, columns) in zip(
            (0, 2) if is_dynamic else (0, 1), (first, second), strict=True
        ):
            file.random(f"mm.{number}.weight", rows, columns, scale=3.0)
            file.filled(f"mm.{number}.bias", rows)
    if family == "qwen3vl":
        prefix = f"v.deepstack.{EYE_LAYERS - 1}."
        file.ones(f"{prefix}norm.weight", merged)
        file.filled(f"{prefix}norm.bias", merged)
        for part, rows in (("fc1", merged), ("fc2", WIDTH)):
            file.random(f"{prefix}{part}.weight", rows, merged)
            file.filled(f"{prefix}{part}.bias", rows)


def _add_encoder_layers(file: _File, prefix: str, family: str) -> None:
    """Add a transformer; that of qwen25vl has norms without bias and a gated feed-forward."""
    is_gated = prefix == "v" and family == "qwen25vl"
    fused = prefix == "v" and family == "qwen3vl"
    for number in range(EYE_LAYERS):
        layer = f"{prefix}.blk.{number}."
        for part in ("attn_qkv",) if fused else ("attn_q", "attn_k", "attn_v"):
            rows = 3 * EYE_WIDTH if fused else EYE_WIDTH
            file.random(f"{layer}{part}.weight", rows, EYE_WIDTH)
            if prefix == "v" or part != "attn_k":  # whisper's keys have no bias
                file.filled(f"{layer}{part}.bias", rows)
        file.random(f"{layer}attn_out.weight", EYE_WIDTH, EYE_WIDTH)
        file.filled(f"{layer}attn_out.bias", EYE_WIDTH)
        for norm in ("ln1", "ln2"):
            file.ones(f"{layer}{norm}.weight", EYE_WIDTH)
            if not is_gated:
                file.filled(f"{layer}{norm}.bias", EYE_WIDTH)
        for part in ("ffn_up", "ffn_gate") if is_gated else ("ffn_up",):
            file.random(f"{layer}{part}.weight", EYE_INNER, EYE_WIDTH)
            file.filled(f"{layer}{part}.bias", EYE_INNER)
        file.random(f"{layer}ffn_down.weight", EYE_WIDTH, EYE_INNER)
        file.filled(f"{layer}ffn_down.bias", EYE_WIDTH)


def _add_ear(file: _File) -> None:
    num_mels, num_frames, stack = 80, 1500, 4  # 30 s are 1500 frames, which the stack divides
    file.numbers(
        "clip.audio",
        {
            "num_mel_bins": num_mels, "embedding_length": EYE_WIDTH,
            "feed_forward_length": EYE_INNER, "block_count": EYE_LAYERS, "projection_dim": WIDTH,
            "attention.head_count": EYE_HEADS,
            "projector.stack_factor": stack,
        },
    )  # fmt: skip
    file.writer.add_float32("clip.audio.attention.layer_norm_epsilon", 1e-5)
    for part, inputs in ((1, num_mels), (2, EYE_WIDTH)):
        file.random(f"a.conv1d.{part}.weight", EYE_WIDTH, inputs, 3, scale=2.0)
        file.filled(f"a.conv1d.{part}.bias", EYE_WIDTH, 1)
    file.table("a.position_embd.weight", num_frames, EYE_WIDTH)
    _add_encoder_layers(file, "a", "ultravox")
    file.ones("a.post_ln.weight", EYE_WIDTH)
    file.filled("a.post_ln.bias", EYE_WIDTH)
    file.ones("mm.a.norm_pre.weight", stack * EYE_WIDTH)
    file.random("mm.a.mlp.1.weight", 2 * EYE_INNER, stack * EYE_WIDTH)
    file.ones("mm.a.norm_mid.weight", EYE_INNER)
    file.random("mm.a.mlp.2.weight", WIDTH, EYE_INNER)
