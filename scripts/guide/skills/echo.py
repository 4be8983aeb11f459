"""Saying back what the user writes, accents and emoji included."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guide import words
from guide.sample import Contains, Sample, Split, assistant, phrase, user

if TYPE_CHECKING:
    import random

ASKS = (
    "Repeat: {text}", "Say {text}", "echo: {text}", "Say after me: {text}", "Repeat after me: {text}",
    "Write: {text}", "Please repeat: {text}", "echo {text}", "Please say: {text}", "Please write: {text}",
)  # fmt: skip
EMOJI = tuple("😀 🎉 🚀 🐈 🌍 ❤️ 👍 🍕 🔥 🌈 🐧 ⭐ 🎵 ☕ 🏠".split())
ACCENTED = tuple("café naïve Zürich São déjà über señor crème Łódź façade jalapeño Köln".split())


def sample(rng: random.Random, split: Split) -> Sample:
    """Ask for one to four words back."""
    text = " ".join(_word(rng) for _ in range(rng.randint(1, 4)))
    question = phrase(rng, ASKS, split, text=text)
    return Sample(skill="echo", messages=(user(question), assistant(text)), check=Contains((text,)))


def _word(rng: random.Random) -> str:
    kind = rng.random()
    if kind < 0.3:
        return rng.choice(EMOJI)
    return rng.choice(ACCENTED) if kind < 0.45 else words.word(rng)
