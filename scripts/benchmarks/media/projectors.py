"""A projector of realistic size for benchmarks: SigLIP base with random weights.

    <cache>/localrun/bench-models/siglip-<width>-1.gguf    175 MB in F16, 93 M parameters

A picture has two chunks of 64 embeddings: its overview, and one tile of 512 x 512 pixels in
patches of 16, sixteen of which are joined. SmolVLM cuts a large photo into more tiles of this kind.
What the encoder sees is noise; its shapes and its time are those of the real one. The number at the
end of the name is the version of the format in this module.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import gguf
import numpy as np

from benchmarks.models import GUIDE, SHAPES, bench_folder

if TYPE_CHECKING:
    from pathlib import Path

GUIDE_PROJECTOR = GUIDE.with_name("mmproj-guide.gguf")
VERSION = 1
SEED = 3
WIDTH, INNER, LAYERS, HEADS = 768, 3072, 12, 12
SIDE, PATCH, JOINED = 512, 16, 4  # pixels, pixels, patches along each side of an embedding
EPSILON = 1e-6


def ensure_projector(name: str) -> Path:
    """Return the projector for a model of `benchmarks.models.NAMES`, created if necessary."""
    if name == "guide":
        return GUIDE_PROJECTOR
    width = SHAPES[name].hidden
    path = bench_folder() / f"siglip-{width}-{VERSION}.gguf"
    if not path.is_file():
        print("making a random projector of 93 M parameters ...", file=sys.stderr)
        partial = path.with_suffix(".partial")
        _write(partial, width)
        partial.rename(path)
    return path


def _write(path: Path, text_width: int) -> None:
    writer = gguf.GGUFWriter(path, "clip", use_temp_file=True)
    _add_metadata(writer, text_width)
    rng = np.random.default_rng(SEED)

    def matrix(name: str, *shape: int) -> None:
        values = rng.standard_normal(shape, dtype=np.float32) / np.sqrt(np.prod(shape[1:]))
        writer.add_tensor(f"{name}.weight", values.astype(np.float16))

    def vector(name: str, size: int, value: float = 0.0) -> None:
        writer.add_tensor(name, np.full(size, value, dtype=np.float32))

    matrix("v.patch_embd", WIDTH, 3, PATCH, PATCH)
    vector("v.patch_embd.bias", WIDTH)
    positions = rng.standard_normal(((SIDE // PATCH) ** 2, WIDTH), dtype=np.float32) * 0.3
    writer.add_tensor("v.position_embd.weight", positions)
    for layer in range(LAYERS):
        begin = f"v.blk.{layer}."
        for norm in ("ln1", "ln2"):
            vector(f"{begin}{norm}.weight", WIDTH, 1.0)
            vector(f"{begin}{norm}.bias", WIDTH)
        for part, rows, columns in (
            ("attn_q", WIDTH, WIDTH),
            ("attn_k", WIDTH, WIDTH),
            ("attn_v", WIDTH, WIDTH),
            ("attn_out", WIDTH, WIDTH),
            ("ffn_up", INNER, WIDTH),
            ("ffn_down", WIDTH, INNER),
        ):
            matrix(begin + part, rows, columns)
            vector(f"{begin}{part}.bias", rows)
    vector("v.post_ln.weight", WIDTH, 1.0)
    vector("v.post_ln.bias", WIDTH)
    matrix("mm.model.fc", text_width, WIDTH * JOINED**2)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_metadata(writer: gguf.GGUFWriter, text_width: int) -> None:
    writer.add_type("mmproj")
    writer.add_name("random SigLIP")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    for key, value in {
        "has_vision_encoder": True,
        "has_audio_encoder": False,
        "use_gelu": True,
    }.items():
        writer.add_bool(f"clip.{key}", value)
    writer.add_string("clip.projector_type", "idefics3")
    for key, number in {
        "image_size": SIDE,
        "preproc_image_size": SIDE,  # one tile: larger pictures are made smaller
        "patch_size": PATCH,
        "projector.scale_factor": JOINED,
        "embedding_length": WIDTH,
        "feed_forward_length": INNER,
        "block_count": LAYERS,
        "projection_dim": text_width,
        "attention.head_count": HEADS,
    }.items():
        writer.add_uint32(f"clip.vision.{key}", number)
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", EPSILON)
    for key in ("image_mean", "image_std"):
        writer.add_array(f"clip.vision.{key}", [0.5] * 3)
