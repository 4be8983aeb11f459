"""Encoder of guide's projector: a sound of any length becomes one embedding.

llama.cpp's projector type ``qwen3tts_spkenc`` computes it, which was made to recognise speakers
(ECAPA-TDNN, arXiv 2005.07143): convolutions over time, a gate for each channel, and a pooling that
weighs frames. Training is cheaper than that by three means, which `guide.ears.projector` undoes:
it takes every second frame only, normalizes batches, and leaves out the chain of small convolutions
within a block.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

STRIDE = 2  # frames; kernels reach over every second one
DILATIONS = (1, 2, 4)  # of the blocks' kernels, in strides; llama.cpp requires three blocks
LEAST_VARIANCE = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The dimensions."""

    bands: int = 40
    width: int = 48  # a multiple of 8
    kernel: int = 5
    squeezed: int = 24
    pooled: int = 128
    attention: int = 32
    out: int = 256  # guide's embedding


class Convolution(nn.Module):
    """A convolution over time that reflects the edges, and its normalization."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        kernel: int = 1,
        dilation: int = 1,
        is_normed: bool = True,
    ) -> None:
        super().__init__()
        self.dilation = dilation
        self.conv = nn.Conv1d(inputs, outputs, kernel)
        self.norm = nn.BatchNorm1d(outputs) if is_normed else nn.Identity()

    def forward(self, x: Tensor, every: int = 1) -> Tensor:
        """Map (batch, inputs, frames) to (batch, outputs, frames), of ``every``-th frames."""
        weight, dilation = self.conv.weight, self.dilation * STRIDE // every
        reach = (weight.shape[2] - 1) * dilation // 2
        if reach:
            x = functional.pad(x, (reach, reach), mode="reflect")
        y: Tensor = self.norm(functional.conv1d(x, weight, self.conv.bias, dilation=dilation))
        return y


class Block(nn.Module):
    """One layer, with a gate for each channel."""

    def __init__(self, shape: Shape, dilation: int) -> None:
        super().__init__()
        width = shape.width
        self.before = Convolution(width, width, kernel=shape.kernel, dilation=dilation)
        self.after = Convolution(width, width)
        self.squeeze = Convolution(width, shape.squeezed, is_normed=False)
        self.excite = Convolution(shape.squeezed, width, is_normed=False)

    def forward(self, x: Tensor, every: int) -> Tensor:
        """Add what the layer finds to ``x``, shape (batch, width, frames)."""
        added = functional.relu(self.after(functional.relu(self.before(x, every))))
        gate = self.excite(functional.relu(self.squeeze(added.mean(2, keepdim=True))))
        return x + added * gate.sigmoid()


class Encoder(nn.Module):
    """The whole network."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.stem = Convolution(shape.bands, shape.width, kernel=shape.kernel)
        self.blocks = nn.ModuleList(Block(shape, dilation) for dilation in DILATIONS)
        self.gather = Convolution(shape.width * len(DILATIONS), shape.pooled)
        self.listen = Convolution(shape.pooled, shape.attention)
        self.weigh = Convolution(shape.attention, shape.pooled, is_normed=False)
        self.project = Convolution(shape.pooled * 2, shape.out, is_normed=False)

    def forward(self, mel: Tensor, every: int = 1) -> Tensor:
        """Map spectrograms to embeddings, shape (batch, out).

        ``mel`` has the ``every``-th frames, 1 or `STRIDE`, and shape (batch, bands, num_frames).
        """
        x, outputs = functional.relu(self.stem(mel, every)), []
        for block in self.blocks:
            x = block(x, every)
            outputs.append(x)
        x = functional.relu(self.gather(torch.cat(outputs, 1)))
        embeddings: Tensor = self.project(self._pooled(x))[:, :, 0]
        return embeddings

    def _pooled(self, x: Tensor) -> Tensor:
        """Return mean and deviation over time, weighed for each channel."""
        weights = self.weigh(torch.tanh(functional.relu(self.listen(x)))).softmax(2)
        mean = (x * weights).sum(2, keepdim=True)
        variance = ((x - mean).square() * weights).sum(2, keepdim=True)
        return torch.cat((mean, (variance + LEAST_VARIANCE).sqrt()), 1)
