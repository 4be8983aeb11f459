"""Sounds that are no digit: other words, of which each fifth is held out, tones and noise.

The same seed draws the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from guide import words
from guide.ears import speech
from guide.ears.mel import RATE
from guide.ears.recording import noise
from guide.pictures import DIGITS, UNCLEAR
from guide.sample import HELD_OUT_EVERY, Split

if TYPE_CHECKING:
    import random

WORDS = (*DIGITS, UNCLEAR)  # what a sound becomes
SPOKEN = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
OTHERS = (  # many sound nearly like a digit; what sounds just like one ("for") is missing
    *"""
    ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty
    thirty forty fifty sixty seventy eighty ninety hundred thousand million first second third
    fourth fifth sixth seventh eighth ninth tenth once twice half double a b c d e f g h i j k l
    m n o p q r s t u v w x y z yes no on off go stop left right up down start end help please
    what this is plus minus and times sum add hello bye who why when where fine nice night line
    wine run sun fun done gun shoe do you blue chew true tea fee knee he she see be key fire
    fight dive hive life wife file door floor more war pour fork sick fix mix sticks kicks kiss
    sit heaven savant Kevin several hate late wait gate date ace age aid eat it zebra zeal hero
    Nero row year weird silo cereal oh nought nil dozen localrun guide model computer listen
    repeat nothing anything something everything somebody
    """.split(),
    *words.COLOURS, *words.ANIMALS, *words.FOODS, *words.JOBS, *words.HOBBIES, *words.THINGS,
    *words.WORDS, *words.CITIES,
)  # fmt: skip
SENTENCES = (
    "hello world", "good morning", "how are you", "what time is it", "thank you very much",
    "what is this", "turn on the light", "I do not know", "see you tomorrow",
    "the weather is nice", "who are you", "tell me a story", "download a model",
    "it is raining", "my name is Anna", "where do you live",
)  # fmt: skip
NUMBERS = tuple(str(number) for number in range(10, 1000))


def other_words(rng: random.Random, split: Split) -> np.ndarray:
    """Say another word, a longer number, a sentence, or two digits."""
    return speech.say(_text(rng, split), speech.any_voice(rng, split))


def no_speech(rng: random.Random) -> np.ndarray:
    """Return tones, a melody, clicks, noise or silence."""
    seconds = rng.uniform(0.15, 1.5)
    time = np.arange(int(RATE * seconds)) / RATE
    kind = rng.choice(("tones", "melody", "sweep", "clicks", "noise", "silence"))
    if kind == "silence":
        return np.zeros(len(time), np.float32)
    if kind == "noise":
        shape = np.abs(np.sin(np.pi * time / seconds)) ** rng.choice((0, 1, 4))
        return _peaked(np.fft.irfft(noise(rng, len(time)), len(time)) * shape)
    if kind == "clicks":
        clicks = np.zeros(len(time))
        clicks[[rng.randrange(len(time)) for _ in range(rng.randint(1, 12))]] = 1
        decay = np.exp(-np.arange(600) / rng.uniform(5, 150))
        return _peaked(np.convolve(clicks, decay)[: len(time)])
    hz = np.full(len(time), rng.uniform(80, 3000))
    if kind == "melody":
        pieces = rng.randint(2, 6)
        hz = np.repeat([rng.uniform(150, 1500) for _ in range(pieces)], len(time) // pieces + 1)
    elif kind == "sweep":
        hz = np.linspace(rng.uniform(80, 3000), rng.uniform(80, 3000), len(time))
    phase = 2 * np.pi * np.cumsum(hz[: len(time)]) / RATE
    overtones = ((number, rng.uniform(0, 1) / number) for number in range(1, rng.randint(2, 9)))
    return _peaked(sum(share * np.sin(number * phase) for number, share in overtones))


def texts(all_texts: tuple[str, ...], split: Split) -> list[str]:
    """Return those of a list that a split may say."""
    is_held_out = split is Split.HELD_OUT
    numbered = enumerate(dict.fromkeys(all_texts))
    return [text for n, text in numbered if (n % HELD_OUT_EVERY == 0) is is_held_out]


def _text(rng: random.Random, split: Split) -> str:
    chance = rng.random()
    if chance < 0.65:
        return rng.choice(texts(OTHERS, split))
    if chance < 0.75:
        return rng.choice(texts(NUMBERS, split))
    if chance < 0.9:
        return " ".join(rng.choice(SPOKEN) for _ in range(rng.randint(2, 3)))
    return rng.choice(texts(SENTENCES, split))


def _peaked(sound: np.ndarray) -> np.ndarray:
    return (sound / max(1e-9, float(np.abs(sound).max()))).astype(np.float32)
