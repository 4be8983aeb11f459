"""The network of guide: Qwen 3's architecture, small.

Names follow Hugging Face's Qwen 3, so that the PEFT adapter has the names that
every tool expects; ``export.py`` maps them to llama.cpp's.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The dimensions; those that are rows of a matrix are multiples of 256 for K-quants."""

    vocab: int = 4096
    hidden: int = 256
    layers: int = 6
    heads: int = 4
    kv_heads: int = 2
    head: int = 64
    feed_forward: int = 768
    context: int = 2048
    rope_base: float = 10000.0
    norm_epsilon: float = 1e-6


class Attention(nn.Module):
    """Grouped-query attention with normalised queries and keys."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.q_proj = nn.Linear(shape.hidden, shape.heads * shape.head, bias=False)
        self.k_proj = nn.Linear(shape.hidden, shape.kv_heads * shape.head, bias=False)
        self.v_proj = nn.Linear(shape.hidden, shape.kv_heads * shape.head, bias=False)
        self.o_proj = nn.Linear(shape.heads * shape.head, shape.hidden, bias=False)
        self.q_norm = nn.RMSNorm(shape.head, eps=shape.norm_epsilon)
        self.k_norm = nn.RMSNorm(shape.head, eps=shape.norm_epsilon)

    def forward(self, x: Tensor, rope: Tensor) -> Tensor:
        """Attend to the left; ``x`` has shape (batch, num_tokens, hidden)."""
        batch, length, _ = x.shape
        q = self.q_norm(self.q_proj(x).view(batch, length, -1, self.shape.head)).transpose(1, 2)
        k = self.k_norm(self.k_proj(x).view(batch, length, -1, self.shape.head)).transpose(1, 2)
        v = self.v_proj(x).view(batch, length, -1, self.shape.head).transpose(1, 2)
        group = self.shape.heads // self.shape.kv_heads
        out = functional.scaled_dot_product_attention(
            rotate(q, rope).to(v.dtype),
            rotate(k, rope).to(v.dtype).repeat_interleave(group, dim=1),
            v.repeat_interleave(group, dim=1),
            is_causal=True,
        )
        projected: Tensor = self.o_proj(out.transpose(1, 2).reshape(batch, length, -1))
        return projected


class FeedForward(nn.Module):
    """SwiGLU."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(shape.hidden, shape.feed_forward, bias=False)
        self.up_proj = nn.Linear(shape.hidden, shape.feed_forward, bias=False)
        self.down_proj = nn.Linear(shape.feed_forward, shape.hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, num_tokens, hidden) to the same shape."""
        mapped: Tensor = self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))
        return mapped


class Block(nn.Module):
    """One layer."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.input_layernorm = nn.RMSNorm(shape.hidden, eps=shape.norm_epsilon)
        self.self_attn = Attention(shape)
        self.post_attention_layernorm = nn.RMSNorm(shape.hidden, eps=shape.norm_epsilon)
        self.mlp = FeedForward(shape)

    def forward(self, x: Tensor, rope: Tensor) -> Tensor:
        """Add attention and feed-forward to the stream."""
        x = x + self.self_attn(self.input_layernorm(x), rope)
        return x + self.mlp(self.post_attention_layernorm(x))


class Guide(nn.Module):
    """The whole network; input and output share the embedding."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embed_tokens = nn.Embedding(shape.vocab, shape.hidden)
        self.layers = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = nn.RMSNorm(shape.hidden, eps=shape.norm_epsilon)
        self.apply(self._initialise)

    def forward(self, ids: Tensor) -> Tensor:
        """Return the last hidden states of ids of shape (batch, num_tokens)."""
        rope = angles(self.shape, ids.shape[1], ids.device)
        x = self.embed_tokens(ids)
        for layer in self.layers:
            x = layer(x, rope)
        normed: Tensor = self.norm(x)
        return normed

    def loss(self, ids: Tensor, weights: Tensor) -> Tensor:
        """Return the weighted cross entropy of each next token; both (batch, num_tokens)."""
        hidden = self(ids[:, :-1]).flatten(0, 1)
        target, weight = ids[:, 1:].flatten(), weights[:, 1:].flatten()
        used = weight > 0
        logits = functional.linear(hidden[used], self.embed_tokens.weight)
        losses = functional.cross_entropy(logits.float(), target[used], reduction="none")
        return (losses * weight[used]).sum() / weight.sum()

    def _initialise(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)


def angles(shape: Shape, length: int, device: torch.device) -> Tensor:
    """Return cosines and sines of each position's rotation, shape (2, length, head / 2)."""
    frequency = shape.rope_base ** (-torch.arange(0, shape.head, 2, device=device) / shape.head)
    angle = torch.arange(length, device=device)[:, None] * frequency[None, :]
    return torch.stack([angle.cos(), angle.sin()])


def rotate(x: Tensor, rope: Tensor) -> Tensor:
    """Turn halves against each other (the "neox" layout that llama.cpp uses for Qwen 3)."""
    first, second = x.chunk(2, dim=-1)
    cos, sin = rope
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
