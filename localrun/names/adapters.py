"""A model's name with adapters put on it: ``guide+pirate@0.8+./legal.gguf``."""

from __future__ import annotations

import math
from dataclasses import dataclass

from localrun.errors import ModelNameError

LARGEST_SCALE = 100.0
LONGEST_NAME = 4096  # characters
MOST_ADAPTERS = 64


@dataclass(frozen=True, slots=True)
class AdapterName:
    """An adapter by its name: a model whose adapters are meant, or a file's path."""

    name: str
    scale: float = 1.0

    def __str__(self) -> str:
        return self.name if self.scale == 1 else f"{self.name}@{self.scale:g}"


def split_adapters(text: str) -> tuple[str, tuple[AdapterName, ...]]:
    """Return the model's name and the adapters after it.

    Raises:
        ModelNameError: an adapter has no name, or its scale is out of bounds.
    """
    if len(text) > LONGEST_NAME:
        raise ModelNameError(f"the model name is too long: {text[:200]!r}...")
    if text.startswith(("http://", "https://", "./", "/", "~", "../")) and ".gguf+" not in text:
        return text, ()  # a "+" is part of the address or path
    base, *parts = text.split("+")
    if len(parts) > MOST_ADAPTERS:
        raise ModelNameError(f"a model takes at most {MOST_ADAPTERS} adapters, not {len(parts)}")
    return base, tuple(_adapter(part, text) for part in parts)


def _adapter(part: str, text: str) -> AdapterName:
    name, at, number = part.rpartition("@")
    if at:
        try:
            scale = float(number)
        except ValueError:  # the "@" belongs to the name
            name, scale = part, 1.0
    else:
        name, scale = part, 1.0
    if not name or not math.isfinite(scale) or abs(scale) > LARGEST_SCALE:
        raise ModelNameError(
            f"not a model with adapters: {text[:200]!r}", hint="localrun run guide+pirate@0.8"
        )
    return AdapterName(name, scale)
