"""Model name with adapters: ``guide+pirate@0.8+./legal.gguf``."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from localrun.errors import ModelNameError
from localrun.names.parse import parse_name

LARGEST_SCALE = 100.0
LONGEST_NAME = 4096  # characters
MAX_ADAPTERS = 64


@dataclass(frozen=True, slots=True)
class AdapterName:
    """Name of an adapter: a model whose adapters are used, or the path of a file."""

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
    if len(parts) > MAX_ADAPTERS:
        raise ModelNameError(f"a model takes at most {MAX_ADAPTERS} adapters, not {len(parts)}")
    return base, tuple(_adapter(part, text) for part in parts)


def is_same_name(one: str, other: str) -> bool:
    """Return whether two names mean the same model: ``guide`` and ``Guide:latest`` do."""
    return one == other or _key(one) == _key(other)


def names_in(text: str) -> tuple[str, ...]:
    """Return the names of the model and of its adapters."""
    base, adapters = split_adapters(text)
    return (base, *(adapter.name for adapter in adapters))


def with_name(text: str, source: str, target: str) -> str:
    """Return a name with ``source`` replaced by ``target``, also among the adapters."""
    base, adapters = split_adapters(text)
    parts = [target if is_same_name(base, source) else base]
    for adapter in adapters:
        is_meant = is_same_name(adapter.name, source)
        parts.append(str(replace(adapter, name=target) if is_meant else adapter))
    return "+".join(parts)


def _key(text: str) -> tuple[object, ...]:
    base, adapters = split_adapters(text)
    scaled = ((parse_name(adapter.name).key, adapter.scale) for adapter in adapters)
    return (parse_name(base).key, *scaled)


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
