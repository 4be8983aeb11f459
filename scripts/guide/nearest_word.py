"""Training of an encoder whose outputs are embeddings of words, for pictures and for sounds.

Half of the loss is the cross entropy of the nearest word, the other half the distance to it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from guide.train import rate

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

SHARPNESS = 8.0  # of the nearest word, in mean squared distances of two words


def fit(
    encoder: nn.Module,
    rows: Tensor,
    batch: Callable[[int], tuple[tuple[Any, ...], Tensor]],
    *,
    num_steps: int,
    peak: float,
    report: Callable[[str], None],
) -> None:
    """Train an encoder whose embeddings are ``rows``, one for each word.

    ``batch`` returns the encoder's inputs and the words' indices, shape (batch,), of a step.
    ``peak`` is that of AdamW's rate.
    """
    adam = torch.optim.AdamW(encoder.parameters(), betas=(0.9, 0.98), weight_decay=0.02)
    unit = squared_distances(rows, rows).mean()
    begun = time.monotonic()
    for step in range(num_steps):
        inputs, labels = batch(step)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            embeddings = encoder(*inputs)
        near = squared_distances(embeddings.float(), rows) / unit
        own = near.gather(1, labels[:, None]).mean()
        loss = functional.cross_entropy(-near * SHARPNESS, labels) + own
        for group in adam.param_groups:
            group["lr"] = peak * rate(step / num_steps)
        adam.zero_grad()
        loss.backward()
        adam.step()
        if step % 500 == 0:
            minutes = (time.monotonic() - begun) / 60
            report(f"step {step} of {num_steps}  loss {loss.item():.4f}  {minutes:.1f} min")


def squared_distances(embeddings: Tensor, rows: Tensor) -> Tensor:
    """Return the squared distance of each embedding to each row, shape (batch, num_rows)."""
    return torch.cdist(embeddings, rows).square()
