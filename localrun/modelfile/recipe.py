"""Recipe: the typed values of a Modelfile.

    FROM llama3.2                 sources      in order: a model, or weights and projector
    ADAPTER ./pirate.gguf 0.8     adapters     all of them, in order
    TEMPLATE, SYSTEM, ...         the last one counts, as in Ollama
    LICENSE, MESSAGE              all of them, in order
    PARAMETER                     in order. List parameters (stop) may repeat; of others the
                                  last value counts, at the position of the first

A deprecated parameter is checked and dropped, as in Ollama. Paths stay as written, relative to the
folder of the top file. An empty FROM is that folder.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from localrun.errors import UsageError
from localrun.modelfile.instruction import most_of
from localrun.modelfile.known import LISTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localrun.modelfile.parameters import ParameterValue

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeMessage:
    """A message at the beginning of every conversation."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterUse:
    """A LoRA adapter and its scale."""

    path: str
    scale: float = 1.0

    def __post_init__(self) -> None:
        if not math.isfinite(self.scale):
            raise ValueError(f"the scale of an adapter is a number, not {self.scale}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A recipe; a parameter that is not a list has one value.

    Raises:
        UsageError: an instruction occurs more often than `most_of` allows.
    """

    sources: tuple[str, ...]
    adapters: tuple[AdapterUse, ...] = ()
    draft: str | None = None
    template: str | None = None
    system: str | None = None
    licenses: tuple[str, ...] = ()
    messages: tuple[RecipeMessage, ...] = ()
    parameters: tuple[tuple[str, ParameterValue], ...] = ()
    renderer: str | None = None
    parser: str | None = None
    requires: str | None = None  # without "v"

    def __post_init__(self) -> None:
        counts = Counter(name for name, _ in self.parameters if name not in LISTS)
        repeated = [name for name, count in counts.items() if count > 1]
        if repeated:
            raise ValueError(f"parameters with two values: {', '.join(repeated)}")
        for kind, count in self._counts():
            if count > most_of(kind):
                raise UsageError(f"a recipe has at most {most_of(kind)} {kind}, this one {count}")

    def _counts(self) -> Iterator[tuple[str, int]]:
        """Yield the kinds of instructions that may repeat, with their number."""
        yield from (
            ("FROM", len(self.sources)),
            ("ADAPTER", len(self.adapters)),
            ("LICENSE", len(self.licenses)),
            ("MESSAGE", len(self.messages)),
        )
        counts = Counter(name for name, _ in self.parameters)
        yield from ((f"PARAMETER {name}", count) for name, count in counts.items())
