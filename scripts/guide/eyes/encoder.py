"""Encoder of guide's projector: a picture of 20 x 20 pixels becomes one embedding.

The layers are those of llama.cpp's projector type ``janus_pro`` with a single patch: SigLIP's
blocks, then two matrices with GELU between. With one token a block's attention passes its value on,
whatever query and key are, so the network has only the product of value and output.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn
from torch.nn import functional

gelu = partial(functional.gelu, approximate="tanh")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The dimensions; all but the side are multiples of 32 for Q8_0."""

    side: int = 20  # pixels
    width: int = 256
    blocks: int = 2
    feed_forward: int = 896
    hidden: int = 768
    out: int = 256  # guide's embedding
    norm_epsilon: float = 1e-6


class Block(nn.Module):
    """One layer."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.ln1 = nn.LayerNorm(shape.width, shape.norm_epsilon)
        self.attention = nn.Linear(shape.width, shape.width)
        self.ln2 = nn.LayerNorm(shape.width, shape.norm_epsilon)
        self.up = nn.Linear(shape.width, shape.feed_forward)
        self.down = nn.Linear(shape.feed_forward, shape.width)

    def forward(self, x: Tensor) -> Tensor:
        """Add both parts to the stream; ``x`` has shape (batch, width)."""
        x = x + self.attention(self.ln1(x))
        added: Tensor = self.down(gelu(self.up(self.ln2(x))))
        return x + added


class Encoder(nn.Module):
    """The whole network."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.patch = nn.Linear(3 * shape.side**2, shape.width)
        self.blocks = nn.Sequential(*(Block(shape) for _ in range(shape.blocks)))
        self.post_ln = nn.LayerNorm(shape.width, shape.norm_epsilon)
        self.mm0 = nn.Linear(shape.width, shape.hidden)
        self.mm1 = nn.Linear(shape.hidden, shape.out)

    def forward(self, pixels: Tensor) -> Tensor:
        """Map pixels of -1 to 1, shape (batch, 3, side, side), to embeddings, (batch, out)."""
        x = self.post_ln(self.blocks(self.patch(pixels.flatten(1))))
        embeddings: Tensor = self.mm1(gelu(self.mm0(x)))
        return embeddings
