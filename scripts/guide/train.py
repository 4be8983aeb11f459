"""Train guide: corpus to tokenizer to weights. Same seed, same machine: same model."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from guide import corpus
from guide.batches import batches, tokenize
from guide.network import Guide, Shape
from guide.optimizer import Optimizer
from guide.sample import Split
from guide.text import render, train_tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import numpy as np
    from tokenizers import Tokenizer
    from torch import nn

WARM_UP = 0.02  # shares of the run: the rate rises, stays, and falls to zero
COOL_DOWN = 0.4
TOKENIZER_SAMPLES = 40_000
REPORT_STEPS = 50  # from one line of progress to the next


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How long and how large."""

    samples: int = 600_000
    peak: float = 1.0  # of the optimizer's rates; less to go on from trained weights
    batch_tokens: int = 8192
    seed: int = 1
    corpus_seed: int = 1000  # added to the seed: other trainings see other conversations
    chunk_samples: int = 24_000  # made, tokenized and sorted by length at a time


def fit_tokenizer(seed: int) -> Tokenizer:
    """Train the tokenizer on rendered conversations."""
    samples = corpus.samples(seed, Split.TRAIN, TOKENIZER_SAMPLES)
    return train_tokenizer(render(sample, with_reply=True) for sample in samples)


def new_network(tokenizer: Tokenizer, seed: int) -> Guide:
    """Return a network with random weights."""
    torch.manual_seed(seed)
    return Guide(Shape(vocab=tokenizer.get_vocab_size()))


def train(
    network: Guide,
    tokenizer: Tokenizer,
    plan: Plan,
    device: torch.device,
    report: Callable[[str], None],
) -> Guide:
    """Train a network, new or trained before, and return it."""
    network = network.to(device)

    def loss(ids: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        with torch.autocast(device.type, dtype=torch.bfloat16):
            return network.loss(ids.to(device), weights.to(device))

    optimize(network, training_batches(tokenizer, plan), loss, plan, report)
    return network


def training_batches(
    tokenizer: Tokenizer, plan: Plan
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield (ids, weights) of all conversations of a plan."""
    for chunk, first in enumerate(range(0, plan.samples, plan.chunk_samples)):
        count = min(plan.chunk_samples, plan.samples - first)
        seed = plan.seed + plan.corpus_seed + chunk
        rows = tokenize(corpus.samples(seed, Split.TRAIN, count), tokenizer)
        yield from batches(rows, plan.batch_tokens, plan.seed + chunk)


def optimize(
    network: nn.Module,
    made: Iterable[tuple[torch.Tensor, torch.Tensor]],
    loss_of: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    plan: Plan,
    report: Callable[[str], None],
) -> None:
    """Take a step for each batch; ``loss_of`` maps its ids and weights to the loss."""
    optimizer = Optimizer(network)
    begun, seen, average = time.monotonic(), 0, 0.0
    for step, (ids, weights) in enumerate(made, 1):
        loss = loss_of(ids, weights)
        loss.backward()
        optimizer.step(plan.peak * rate(min(1.0, seen / plan.samples)))
        seen += len(ids)
        average = loss.item() if average == 0 else 0.98 * average + 0.02 * loss.item()
        if step % REPORT_STEPS == 0:
            minutes = (time.monotonic() - begun) / 60
            left = minutes * (plan.samples / seen - 1)
            report(
                f"step {step}  {seen / plan.samples:.1%}  loss {average:.4f}  "
                f"{minutes:.1f} min, {left:.1f} left"
            )


def rate(progress: float) -> float:
    """Return the learning rate's share of its peak after ``progress`` of the run, 0 to 1."""
    if progress < WARM_UP:
        return 0.05 + 0.95 * progress / WARM_UP
    return min(1.0, (1.0 - progress) / COOL_DOWN)


def weights_of(network: nn.Module) -> dict[str, np.ndarray]:
    """Return all weights as float32 by Hugging Face's names without ``model.``."""
    return {
        name: tensor.detach().float().cpu().numpy() for name, tensor in network.state_dict().items()
    }
