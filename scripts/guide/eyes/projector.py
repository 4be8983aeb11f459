"""The encoder as a part of the projector file, of llama.cpp's type ``janus_pro``.

The single patch is the whole picture, so a picture is one token. The kernel is F16, which
llama.cpp's convolution requires, the other matrices Q8_0, vectors F32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from gguf import GGMLQuantizationType as Type

from guide.projector_file import Part, stored

if TYPE_CHECKING:
    from torch import Tensor

    from guide.eyes.encoder import Encoder
    from guide.projector_file import StoredTensor


def part(encoder: Encoder, figures: dict[str, float]) -> Part:
    """Return what the file has of the encoder; ``figures`` are shares of held-out pictures."""
    shape = encoder.shape
    numbers: dict[str, int | float | list[float]] = {
        "image_size": shape.side,
        "patch_size": shape.side,
        "embedding_length": shape.width,
        "feed_forward_length": shape.feed_forward,
        "block_count": shape.blocks,
        "projection_dim": shape.out,
        "attention.head_count": 1,
        "attention.layer_norm_epsilon": shape.norm_epsilon,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }
    return Part(
        kind="vision",
        type="janus_pro",
        numbers=numbers,
        tensors={name: _stored(name, tensor) for name, tensor in tensors(encoder).items()},
        figures=figures,
    )


def tensors(encoder: Encoder) -> dict[str, Tensor]:
    """Return all tensors by llama.cpp's names."""
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
    return named


def _stored(name: str, tensor: Tensor) -> StoredTensor:
    if tensor.ndim == 4:
        kind = Type.F16
    elif tensor.ndim == 2 and not name.startswith("v.position"):
        kind = Type.Q8_0
    else:
        kind = Type.F32
    return stored(tensor.detach().float().numpy(), kind)


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
