"""The LoRA adapter ``pirate``: guide without a system prompt, in a pirate's words."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from guide.batches import batches, tokenize
from guide.sample import Split
from guide.skills.persona import pirate_sample
from guide.train import rate

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from tokenizers import Tokenizer

    from guide.network import Guide

PEAK_RATE = 0.004


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterShape:
    """Rank, scale numerator and which matrices of each layer are adapted."""

    rank: int = 4
    alpha: int = 8
    modules: tuple[str, ...] = ("q_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class Adapted(nn.Module):
    """A matrix with a low-rank addition: ``x W' + alpha / rank * x A' B'``."""

    def __init__(self, inner: nn.Linear, shape: AdapterShape) -> None:
        super().__init__()
        self.inner = inner
        self.scale = shape.alpha / shape.rank
        self.lora_A = nn.Parameter(
            torch.randn(shape.rank, inner.in_features) / inner.in_features**0.5
        )
        self.lora_B = nn.Parameter(torch.zeros(inner.out_features, shape.rank))

    def forward(self, x: Tensor) -> Tensor:
        """Map the last dimension from in to out features."""
        mapped: Tensor = self.inner(x)
        return mapped + (x @ self.lora_A.T @ self.lora_B.T) * self.scale


def train_adapter(
    network: Guide,
    tokenizer: Tokenizer,
    shape: AdapterShape,
    *,
    samples: int,
    report: Callable[[str], None],
) -> dict[str, np.ndarray]:
    """Adapt the network in place and return the adapter's tensors by Hugging Face's names."""
    for parameter in network.parameters():
        parameter.requires_grad_(requires_grad=False)
    for _, owner, name in list(_places(network, shape)):
        setattr(owner, name, Adapted(getattr(owner, name), shape))
    trained = [p for p in network.parameters() if p.requires_grad]
    adam = torch.optim.AdamW(trained, lr=PEAK_RATE, weight_decay=0.0)
    rng = random.Random(7)
    rows = tokenize((pirate_sample(rng, Split.TRAIN) for _ in range(samples)), tokenizer)
    all_batches = list(batches(rows, 4096, 7))
    for step, (ids, weights) in enumerate(all_batches):
        for group in adam.param_groups:
            group["lr"] = PEAK_RATE * rate(step / len(all_batches))
        with torch.autocast(ids.device.type, dtype=torch.bfloat16):
            loss = network.loss(ids, weights)
        loss.backward()
        adam.step()
        adam.zero_grad(set_to_none=True)
        if step % 50 == 0:
            report(f"adapter step {step} of {len(all_batches)}  loss {loss.item():.4f}")
    return {
        f"{place}.{part}": getattr(getattr(owner, name), part).detach().numpy()
        for place, owner, name in _places(network, shape)
        for part in ("lora_A", "lora_B")
    }


def _places(network: Guide, shape: AdapterShape) -> list[tuple[str, nn.Module, str]]:
    """List the adapted matrices: name, module that owns it, attribute there."""
    places = []
    for index, layer in enumerate(network.layers):
        for part in ("self_attn", "mlp"):
            owner = getattr(layer, part)
            places += [
                (f"layers.{index}.{part}.{name}", owner, name)
                for name in shape.modules
                if hasattr(owner, name)
            ]
    return places
