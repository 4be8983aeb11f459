"""The encoder as a part of the projector file, of llama.cpp's type ``qwen3tts_spkenc``.

It pools over the whole sound, so a sound is one token. Weights are F16, since a row of a
convolution's kernel is too short for quantization, biases F32. A block of this type has a chain of
convolutions between its two: the channels are cut into eight parts, and all but the first part add
the output of the part before. Here these are the identity, so that a part becomes the sum of those
before it, and the weights behind them take the sums apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from gguf import GGMLQuantizationType as Type
from torch.nn import BatchNorm1d, functional

from guide.ears.encoder import DILATIONS, STRIDE
from guide.projector_file import Part, stored

if TYPE_CHECKING:
    from torch import Tensor

    from guide.ears.encoder import Block, Convolution, Encoder

PARTS = 8  # of the channels of a block


def part(encoder: Encoder, figures: dict[str, float]) -> Part:
    """Return what the file has of the encoder; ``figures`` are shares of held-out sounds."""
    shape = encoder.shape
    numbers: dict[str, int | float | list[float]] = {
        "num_mel_bins": shape.bands,
        "embedding_length": shape.width,
        "feed_forward_length": shape.pooled * 3,  # the widest vector of a frame
        "block_count": len(DILATIONS),
        "projection_dim": shape.out,
        "attention.head_count": 1,  # this and the next are required, but unused
        "attention.layer_norm_epsilon": 1e-5,
    }
    named = {
        name: stored(tensor.detach().numpy(), Type.F16 if name.endswith("weight") else Type.F32)
        for name, tensor in tensors(encoder).items()
    }
    return Part(
        kind="audio", type="qwen3tts_spkenc", numbers=numbers, tensors=named, figures=figures
    )


def tensors(encoder: Encoder) -> dict[str, Tensor]:
    """Return all tensors by llama.cpp's names."""
    named: dict[str, Tensor] = {}
    for name, convolution in (
        ("a.conv1d.0", encoder.stem),
        ("a.conv_out", encoder.gather),
        ("a.asp_tdnn", encoder.listen),
        ("a.asp_attn", encoder.weigh),
        ("mm.a.fc", encoder.project),
    ):
        named |= _fused(name, convolution)
    for number, block in enumerate(encoder.blocks, 1):
        named |= _block(f"a.blk.{number}", block)
    listen = "a.asp_tdnn.weight"  # it could also listen to mean and deviation, its last inputs
    named[listen] = functional.pad(named[listen], (0, 0, 0, encoder.shape.pooled * 2))
    return named


def _block(prefix: str, block: Block) -> dict[str, Tensor]:
    named: dict[str, Tensor] = {}
    for name, convolution in (
        ("conv_pw1", block.before),
        ("conv_pw2", block.after),
        ("se_conv1", block.squeeze),
        ("se_conv2", block.excite),
    ):
        named |= _fused(f"{prefix}.{name}", convolution)
    after = f"{prefix}.conv_pw2.weight"
    named[after] = _of_sums(named[after])
    width = block.before.conv.out_channels // PARTS
    for index in range(PARTS - 1):
        named[f"{prefix}.res2.{index}.weight"] = torch.eye(width)[:, :, None]
        named[f"{prefix}.res2.{index}.bias"] = torch.zeros(width)
    return named


def _of_sums(weight: Tensor) -> Tensor:
    """Return the weight for sums of the inputs' parts that does what ``weight`` does for them."""
    first, second, *others = weight.chunk(PARTS, 1)
    parts = [second, *others]
    behind = [*others, torch.zeros_like(second)]
    return torch.cat([first, *(a - b for a, b in zip(parts, behind, strict=True))], 1)


def _fused(name: str, convolution: Convolution) -> dict[str, Tensor]:
    """Return weight and bias of a convolution of all frames, with its normalization."""
    weight, bias, norm = convolution.conv.weight, convolution.conv.bias, convolution.norm
    if isinstance(norm, BatchNorm1d):
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        weight, bias = weight * scale[:, None, None], (bias - norm.running_mean) * scale + norm.bias
    step = convolution.dilation * STRIDE
    spread = weight.new_zeros((*weight.shape[:2], (weight.shape[2] - 1) * step + 1))
    spread[:, :, ::step] = weight
    return {f"{name}.weight": spread, f"{name}.bias": bias}
