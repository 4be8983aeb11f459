"""Accuracy of an encoder on sounds that its training never heard, by kind."""

from __future__ import annotations

import random
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from guide.ears import sounds, speech
from guide.ears.mel import RATE, log_mel
from guide.ears.recording import recorded
from guide.nearest_word import squared_distances
from guide.pictures import DIGITS, UNCLEAR
from guide.sample import Split

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from guide.ears.encoder import Encoder

    AnyVoice = Callable[[random.Random, Split], speech.Voice]
    Kind = Callable[[random.Random], tuple[str, np.ndarray]]

SEED = 99
COUNT = 500  # sounds of each kind
HELD_OUT = Split.HELD_OUT


def kinds() -> dict[str, Kind]:
    """Return a function by kind that draws one sound and returns its word with it."""
    return {
        "spoken digits": partial(_digit, any_voice=speech.computed, is_recorded=False),
        "digits in a noisy recording": partial(_digit, any_voice=speech.computed, is_recorded=True),
        "digits in a person's voice": partial(_digit, any_voice=speech.person, is_recorded=False),
        "other words": lambda rng: (UNCLEAR, recorded(rng, sounds.other_words(rng, HELD_OUT))),
        "tones, noise and silence": lambda rng: (UNCLEAR, recorded(rng, sounds.no_speech(rng))),
    }


def measure(encoder: Encoder, rows: Tensor) -> dict[str, float]:
    """Return the share of `COUNT` sounds of each kind that are nearest to their word."""
    return {name: _share(encoder, rows, kind) for name, kind in kinds().items()}


def _share(encoder: Encoder, rows: Tensor, kind: Kind) -> float:
    rng = random.Random(SEED)
    return sum(_is_right(encoder, rows, *kind(rng)) for _ in range(COUNT)) / COUNT


def _is_right(encoder: Encoder, rows: Tensor, word: str, samples: np.ndarray) -> bool:
    mel = np.ascontiguousarray(log_mel(samples, encoder.shape.bands))
    with torch.no_grad():
        near = squared_distances(encoder(torch.from_numpy(mel)[None]), rows)
    return sounds.WORDS[int(near.argmin())] == word


def _digit(rng: random.Random, *, any_voice: AnyVoice, is_recorded: bool) -> tuple[str, np.ndarray]:
    """Say a digit, by itself with a pause around it or with what a recording adds."""
    word = rng.choice(DIGITS)
    sound = speech.say(sounds.SPOKEN[int(word)], any_voice(rng, HELD_OUT))
    return word, recorded(rng, sound) if is_recorded else np.pad(sound, RATE // 4)
