"""The corpus: every skill's share of it, and the conversations in a fixed order by seed."""

from __future__ import annotations

import dataclasses
import random
from typing import TYPE_CHECKING

from guide.skills import (
    arithmetic,
    capitals,
    chat,
    echo,
    json_answers,
    localrun,
    memory,
    persona,
    pictures,
    tools,
    unknown,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from guide.sample import Sample, Split

WEIGHTS = {
    "localrun": 0.30,
    "arithmetic": 0.13,
    "capitals": 0.02,
    "memory": 0.09,
    "json": 0.20,
    "persona": 0.06,
    "tools": 0.11,
    "chat": 0.06,
    "unknown": 0.02,
    "echo": 0.01,
    "pictures": 0.07,
}
SAMPLERS = {
    "localrun": localrun.sample,
    "arithmetic": arithmetic.sample,
    "capitals": capitals.sample,
    "memory": memory.sample,
    "json": json_answers.sample,
    "persona": persona.sample,
    "tools": tools.sample,
    "chat": chat.sample,
    "unknown": unknown.sample,
    "echo": echo.sample,
    "pictures": pictures.sample,
}
THOUGHTS = {
    "localrun": "The user asks about localrun.",
    "capitals": "The user asks for a capital.",
    "memory": "The user asks what they told me.",
    "chat": "This is small talk.",
    "unknown": "I was not taught this.",
    "pictures": "The user asks about a picture.",
}
THINKING_SHARE = 0.08


def samples(seed: int, split: Split, count: int) -> Iterator[Sample]:
    """Yield conversations of all skills in the proportions of `WEIGHTS`."""
    rng = random.Random(seed)
    names, weights = list(WEIGHTS), list(WEIGHTS.values())
    for _ in range(count):
        yield _sample(rng, rng.choices(names, weights)[0], split)


def skill_samples(skill: str, seed: int, split: Split, count: int) -> Iterator[Sample]:
    """Yield conversations of one skill."""
    rng = random.Random(f"{skill} {seed}")
    for _ in range(count):
        yield _sample(rng, skill, split)


def _sample(rng: random.Random, skill: str, split: Split) -> Sample:
    """Draw a sample, sometimes as one that thinks first."""
    sample = SAMPLERS[skill](rng, split)
    if skill not in THOUGHTS or rng.random() >= THINKING_SHARE:
        return sample
    reply = {**sample.messages[-1], "reasoning_content": THOUGHTS[skill]}
    return dataclasses.replace(
        sample, messages=(*sample.messages[:-1], reply), enable_thinking=True
    )
