"""Texts of benchmarks: words that are one token each in Qwen's vocabulary."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

WORDS = (
    "time year people way day man thing woman life child world school state family student group "
    "country problem hand part place case week company system program question work number night "
    "point home water room mother area money story fact month lot right study book eye job word"
).split()


def words(rng: random.Random, count: int) -> str:
    """Return a text of random words."""
    return " ".join(rng.choices(WORDS, k=count))
