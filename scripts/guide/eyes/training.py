"""Training of the encoder: pictures become the embeddings of their words. Same seed: same encoder.

The pictures are drawn once; each time one is seen, its colours are exchanged or inverted (of digits
and of what is unclear, whose words do not depend on them), and it is moved by a pixel.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from guide.eyes import drawings
from guide.eyes.encoder import Encoder, Shape
from guide.nearest_word import fit
from guide.pictures import COLOURS, DIGITS, UNCLEAR, WORDS
from guide.sample import Split

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

COLOUR_SHARE, UNCLEAR_SHARE = 0.08, 0.2  # of the pictures; the others are digits
CENTRE = 127.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How long and how large."""

    pictures: int = 150_000
    epochs: int = 40
    batch: int = 512
    peak: float = 2.5e-3  # of AdamW's rate
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Pictures:
    """Drawn pictures: uint8 pixels (num, 3, side, side), and the index of each word in `WORDS`."""

    pixels: Tensor
    labels: Tensor


def train(rows: Tensor, shape: Shape, plan: Plan, report: Callable[[str], None]) -> Encoder:
    """Train an encoder whose embeddings are ``rows``, one for each of `WORDS`."""
    torch.manual_seed(plan.seed)
    encoder = Encoder(shape)
    encoder.mm1.bias.data.copy_(rows.mean(0))
    drawn = draw(plan.pictures, plan.seed, shape.side)
    report(f"drew {plan.pictures} pictures")

    def batch(_: int) -> tuple[tuple[Tensor], Tensor]:
        index = torch.randint(plan.pictures, (plan.batch,))
        labels = drawn.labels[index]
        return (varied(drawn.pixels[index], labels),), labels

    num_steps = plan.pictures * plan.epochs // plan.batch
    fit(encoder, rows, batch, num_steps=num_steps, peak=plan.peak, report=report)
    return encoder.eval()


def draw(count: int, seed: int, side: int) -> Pictures:
    """Draw pictures of all kinds from the training's fonts, handwriting and photographs."""
    rng = random.Random(seed)
    kept = np.empty((count, 3, side, side), np.uint8)
    labels = np.empty(count, np.int64)
    for index in range(count):
        word = _any_word(rng)
        kept[index] = drawings.pixels(drawings.draw(rng, word, Split.TRAIN), side)
        labels[index] = WORDS.index(word)
    return Pictures(torch.from_numpy(kept), torch.from_numpy(labels))


def varied(pixels: Tensor, labels: Tensor) -> Tensor:
    """Return pictures in other colours and places, as floats of -1 to 1."""
    count = len(pixels)
    values = pixels.float() - CENTRE
    channels = torch.rand(count, 3).argsort(1)[:, :, None, None].expand_as(values)
    gain = torch.rand(count, 1, 1, 1) * 0.6 + 0.6
    sign = torch.randint(2, (count, 1, 1, 1)) * 2 - 1
    painted = values.gather(1, channels) * gain * sign + torch.randn(count, 1, 1, 1) * 15
    move = torch.randint(-1, 2, (2,)).tolist()
    painted = torch.roll(painted.clamp(-127, 128), move, (2, 3))
    is_colour = torch.tensor([word in COLOURS for word in WORDS])[labels]
    values = torch.where(is_colour[:, None, None, None], values, painted)
    return (values + torch.randn_like(values) * 3) / (CENTRE + 0.5)


def _any_word(rng: random.Random) -> str:
    chance = rng.random()
    if chance < COLOUR_SHARE:
        return rng.choice(COLOURS)
    return UNCLEAR if chance < COLOUR_SHARE + UNCLEAR_SHARE else rng.choice(DIGITS)
