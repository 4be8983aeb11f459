"""Accuracy of an encoder on drawings that its training never saw, by kind."""

from __future__ import annotations

import random
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from guide.eyes import drawings
from guide.nearest_word import squared_distances
from guide.pictures import COLOURS, DIGITS, UNCLEAR, WORDS
from guide.sample import Split

if TYPE_CHECKING:
    from collections.abc import Callable

    from PIL import Image
    from torch import Tensor

    from guide.eyes.encoder import Encoder

SEED = 99
COUNT = 1000  # pictures of each kind
HELD_OUT = Split.HELD_OUT


def kinds() -> dict[str, Callable[[random.Random], tuple[str, Image.Image]]]:
    """Return a function by kind that draws one picture and returns its word with it."""
    return {
        "printed digits": partial(_digit, by_hand=False),
        "handwritten digits": partial(_digit, by_hand=True),
        "plain colours": _colour,
        "anything else": lambda rng: (UNCLEAR, drawings.unclear(rng, HELD_OUT)),
    }


def measure(encoder: Encoder, rows: Tensor) -> dict[str, float]:
    """Return the share of `COUNT` pictures of each kind that are nearest to their word."""
    return {name: _share(encoder, rows, kind) for name, kind in kinds().items()}


def _share(
    encoder: Encoder,
    rows: Tensor,
    kind: Callable[[random.Random], tuple[str, Image.Image]],
) -> float:
    rng = random.Random(SEED)
    drawn = [kind(rng) for _ in range(COUNT)]
    pixels = np.stack([drawings.pixels(image, encoder.shape.side) for _, image in drawn])
    with torch.no_grad():
        near = squared_distances(encoder(torch.from_numpy(pixels).float() / 127.5 - 1), rows)
    named = [WORDS[index] for index in near.argmin(1)]
    return sum(word == name for (word, _), name in zip(drawn, named, strict=True)) / COUNT


def _digit(rng: random.Random, *, by_hand: bool) -> tuple[str, Image.Image]:
    word = rng.choice(DIGITS)
    return word, drawings.digit(rng, word, HELD_OUT, by_hand=by_hand)


def _colour(rng: random.Random) -> tuple[str, Image.Image]:
    word = rng.choice(COLOURS)
    return word, drawings.colour(rng, word)
