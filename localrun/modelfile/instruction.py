"""One instruction as it is written, with every place in it that a message may name.

PARAMETER stop "User:"
|         |     |     |
start     extra value end
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from localrun.modelfile.source import SourcePosition, SourceText

ROLES = ("system", "user", "assistant")
# whose values are names and paths
NAMING = ("FROM", "ADAPTER", "DRAFT", "RENDERER", "PARSER", "REQUIRES", "INCLUDE", "ARG")
MOST_REPEATED = {  # each is a file or a layer of the model, or a message of every prompt
    "FROM": 1000,
    "ADAPTER": 100,
    "LICENSE": 100,
    "MESSAGE": 10_000,
    "TEMPLATE": 100,  # the last one counts, and lint compiles them all
    "DRAFT": 100,
    "PARAMETER stop": 64,  # each is looked for in every answer
    "PARAMETER dry_sequence_breakers": 64,
}
KEYWORDS = (*NAMING, "PARAMETER", "TEMPLATE", "SYSTEM", "LICENSE", "MESSAGE")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Instruction:
    """One instruction as it is written."""

    keyword: str  # in upper case
    value: str  # without quotes
    extra: str | None = None  # name of a parameter, role of a message, scale of an adapter
    is_plain: bool = True  # stands without quotes
    source: SourceText
    start: int  # offset of the keyword
    extra_start: int
    value_start: int
    end: int  # offset after the last character

    @property
    def what(self) -> str:
        """Return the keyword, with the name of a parameter."""
        return f"PARAMETER {self.extra}" if self.keyword == "PARAMETER" else self.keyword

    @property
    def place(self) -> SourcePosition:
        """Return where the keyword stands."""
        return self.source.place(self.start)

    @property
    def extra_place(self) -> SourcePosition:
        """Return where the extra stands."""
        return self.source.place(self.extra_start)

    @property
    def value_place(self) -> SourcePosition:
        """Return where the value stands."""
        return self.source.place(self.value_start)

    @property
    def raw(self) -> str:
        """Return the text of the file from keyword to end."""
        return self.source.text[self.start : self.end]


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """The value of an instruction, and where it is."""

    text: str
    start: int
    end: int  # of everything that belongs to it
    is_plain: bool = False
    extra: str | None = None
    extra_start: int = 0


def most_of(what: str) -> float:
    """Return how many instructions of a kind, such as ``PARAMETER stop``, a recipe may have."""
    return MOST_REPEATED.get(what, math.inf)
