"""Training of the encoder: sounds become the embeddings of their words. Same seed: same encoder.

Each time a recording is used, its loudness changes, and some bands and a moment are masked.
"""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from guide.ears import sounds
from guide.ears.encoder import STRIDE, Encoder, Shape
from guide.ears.mel import FLOOR, log_mel
from guide.ears.recording import recorded
from guide.ears.speech import any_voice, say
from guide.nearest_word import fit
from guide.pictures import DIGITS, UNCLEAR
from guide.sample import Split

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

SILENT = float(np.log(FLOOR))
LOUDNESS = 0.5  # deviation of the change, in natural logarithms
MASKED_BANDS, MASKED_FRAMES = 5, 4  # at most


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How long and how large."""

    digits: int = 7500  # spoken
    others: int = 5000  # words and sentences
    no_speech: int = 1500
    digit_recordings: int = 3  # of each
    other_recordings: int = 2
    epochs: int = 14
    batch: int = 128
    peak: float = 3e-3  # of AdamW's rate
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Recordings:
    """Recordings of equal length: float16 (num, bands, frames), and each word in `WORDS`."""

    mels: Tensor
    labels: Tensor


def train(rows: Tensor, shape: Shape, plan: Plan, report: Callable[[str], None]) -> Encoder:
    """Train an encoder whose embeddings are ``rows``, one for each of `WORDS`."""
    torch.manual_seed(plan.seed)
    encoder = Encoder(shape)
    encoder.project.conv.bias.data.copy_(rows.mean(0))
    recordings = record(plan, shape.bands)
    num_recordings = sum(len(group.labels) for group in recordings)
    report(f"{num_recordings} recordings of {len(recordings)} lengths")
    shares = torch.tensor([float(len(group.labels)) for group in recordings])

    def batch(step: int) -> tuple[tuple[Tensor, int], Tensor]:
        group = recordings[int(torch.multinomial(shares, 1))]
        index = torch.randint(len(group.labels), (plan.batch,))
        mels = varied(group.mels[index, :, step % STRIDE :: STRIDE].float())
        return (mels, STRIDE), group.labels[index]

    num_steps = num_recordings * plan.epochs // plan.batch
    fit(encoder, rows, batch, num_steps=num_steps, peak=plan.peak, report=report)
    return encoder.eval()


def record(plan: Plan, num_bands: int) -> list[Recordings]:
    """Record sounds of all kinds by the training's voices, grouped by length."""
    rng = random.Random(plan.seed)
    mels: dict[int, list[np.ndarray]] = defaultdict(list)
    labels: dict[int, list[int]] = defaultdict(list)
    for word, sound in _heard(rng, plan):
        mel = log_mel(recorded(rng, sound), num_bands).astype(np.float16)
        mels[mel.shape[1]].append(mel)
        labels[mel.shape[1]].append(sounds.WORDS.index(word))
    return [
        Recordings(torch.from_numpy(np.stack(mels[length])), torch.tensor(labels[length]))
        for length in sorted(mels)
    ]


def varied(mels: Tensor) -> Tensor:
    """Return spectrograms that are louder or softer, with some bands and a moment missing."""
    count, num_bands, num_frames = mels.shape
    louder = (mels + torch.randn(count, 1, 1) * LOUDNESS).clamp_min(SILENT)
    bands = _span(count, num_bands, MASKED_BANDS)[:, :, None]
    frames = _span(count, num_frames, MASKED_FRAMES)[:, None, :]
    mean = louder.mean((1, 2), keepdim=True)
    return torch.where(bands | frames, mean, louder)


def _span(count: int, size: int, most: int) -> Tensor:
    """Return which of ``size`` places lie in a random span, shape (count, size)."""
    first = torch.randint(size, (count, 1))
    length = torch.randint(most + 1, (count, 1))
    places = torch.arange(size)[None]
    return (places >= first) & (places < first + length)


def _heard(rng: random.Random, plan: Plan) -> Iterator[tuple[str, np.ndarray]]:
    """Yield each sound that is recorded, with its word."""
    for index in range(plan.digits):
        word = DIGITS[index % len(DIGITS)]
        sound = say(sounds.SPOKEN[int(word)], any_voice(rng, Split.TRAIN))
        yield from [(word, sound)] * plan.digit_recordings
    for _ in range(plan.others):
        sound = sounds.other_words(rng, Split.TRAIN)
        yield from [(UNCLEAR, sound)] * plan.other_recordings
    for _ in range(plan.no_speech):
        yield UNCLEAR, sounds.no_speech(rng)
