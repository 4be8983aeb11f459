"""The encoder as llama.cpp's projector file, of type ``janus_pro`` with a single patch.

The patch is the whole picture, so a picture is one token. The kernel is F16, which llama.cpp's
convolution requires, the other matrices Q8_0, vectors F32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import gguf
import numpy as np
import torch

from guide.export import finish
from guide.pictures import WORDS, token

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from guide.eyes.encoder import Encoder, Shape

ARCHITECTURE = "clip"
MATRIX_TYPE = gguf.GGMLQuantizationType.Q8_0


def word_rows(model: Path) -> Tensor:
    """Return the embedding of each of `WORDS` as the model file stores it, (num_words, width)."""
    reader = gguf.GGUFReader(model)
    tokens = reader.fields["tokenizer.ggml.tokens"].contents()
    table = next(tensor for tensor in reader.tensors if tensor.name == "token_embd.weight")
    rows = table.data[[tokens.index(token(word)) for word in WORDS]]
    return torch.from_numpy(gguf.quants.dequantize(rows, table.tensor_type))


def write_projector(path: Path, encoder: Encoder, figures: dict[str, float]) -> None:
    """Write the encoder as GGUF; ``figures`` are the shares of held-out pictures that it names."""
    writer = gguf.GGUFWriter(path, ARCHITECTURE)
    _describe(writer, encoder.shape)
    for kind, share in figures.items():
        writer.add_float32(f"guide.eval.{kind}", share)
    for name, tensor in tensors(encoder).items():
        if tensor.ndim == 2 and not name.startswith("v.position"):
            data = gguf.quants.quantize(tensor, MATRIX_TYPE)
            writer.add_tensor(name, data, raw_dtype=MATRIX_TYPE)
        else:
            writer.add_tensor(name, tensor.astype(np.float16) if tensor.ndim == 4 else tensor)
    finish(writer)


def tensors(encoder: Encoder) -> dict[str, np.ndarray]:
    """Return all tensors as float32 by llama.cpp's names."""
    shape = encoder.shape
    kernel = encoder.patch.weight.unflatten(1, (3, shape.side, shape.side))
    named: dict[str, Tensor] = {
        "v.patch_embd.weight": kernel,
        "v.patch_embd.bias": encoder.patch.bias,
        "v.position_embd.weight": torch.zeros(1, shape.width),
    }
    for index, block in enumerate(encoder.blocks):
        for name, value in _block(block, shape.width).items():
            named[f"v.blk.{index}.{name}"] = value
    for name, module in (
        ("v.post_ln", encoder.post_ln),
        ("mm.0", encoder.mm0),
        ("mm.1", encoder.mm1),
    ):
        named |= _weight_and_bias(name, module)
    return {
        name: np.ascontiguousarray(value.detach().float().numpy()) for name, value in named.items()
    }


def _block(block: torch.nn.Module, width: int) -> dict[str, Tensor]:
    """Return a block's tensors; of its attention only the value counts with a single token."""
    named: dict[str, Tensor] = {}
    for name in ("attn_q", "attn_k", "attn_out"):
        named[f"{name}.weight"] = torch.eye(width) * float(name == "attn_out")
        named[f"{name}.bias"] = torch.zeros(width)
    for name, module in (
        ("attn_v", block.attention), ("ln1", block.ln1), ("ln2", block.ln2),
        ("ffn_up", block.up), ("ffn_down", block.down),
    ):  # fmt: skip
        named |= _weight_and_bias(name, module)
    return named


def _weight_and_bias(name: str, module: torch.nn.Module) -> dict[str, Tensor]:
    return {f"{name}.{part}": getattr(module, part) for part in ("weight", "bias")}


def _describe(writer: gguf.GGUFWriter, shape: Shape) -> None:
    writer.add_type(gguf.GGUFType.MMPROJ)
    writer.add_name("guide")
    writer.add_description(
        "What guide sees with: digits and plain colours, by scripts/train-guide."
    )
    writer.add_license("MIT")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_bool("clip.has_vision_encoder", True)  # noqa: FBT003 - its name differs by version
    writer.add_string("clip.projector_type", "janus_pro")
    writer.add_bool("clip.use_gelu", True)  # noqa: FBT003 - as above
    sizes = {
        "image_size": shape.side,
        "patch_size": shape.side,
        "embedding_length": shape.width,
        "feed_forward_length": shape.feed_forward,
        "block_count": shape.blocks,
        "projection_dim": shape.out,
        "attention.head_count": 1,
    }
    for key, value in sizes.items():
        writer.add_uint32(f"clip.vision.{key}", value)
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", shape.norm_epsilon)
    writer.add_array("clip.vision.image_mean", [0.5, 0.5, 0.5])
    writer.add_array("clip.vision.image_std", [0.5, 0.5, 0.5])
