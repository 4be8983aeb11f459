"""Instruction of a Modelfile as written, with the positions that messages refer to.

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
# keywords whose values are names and paths
NAMING = ("FROM", "ADAPTER", "DRAFT", "RENDERER", "PARSER", "REQUIRES", "INCLUDE", "ARG")
MAX_REPEATED = {  # each is a file or layer of the model, or a part of every prompt
    "FROM": 1000,
    "ADAPTER": 100,
    "LICENSE": 100,
    "MESSAGE": 10_000,
    "TEMPLATE": 100,  # the last one counts, but lint compiles all
    "DRAFT": 100,
    "PARAMETER stop": 64,  # each is searched for in every answer
    "PARAMETER dry_sequence_breakers": 64,
}
KEYWORDS = (*NAMING, "PARAMETER", "TEMPLATE", "SYSTEM", "LICENSE", "MESSAGE")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Instruction:
    """One instruction as written."""

    keyword: str  # in upper case
    value: str  # without quotes
    extra: str | None = None  # name of a parameter, role of a message, scale of an adapter
    is_plain: bool = True  # without quotes
    source: SourceText
    start: int  # offset of the keyword
    extra_start: int
    value_start: int
    end: int  # offset after the last character

    @property
    def kind(self) -> str:
        """Return the keyword, with the name of a PARAMETER."""
        return f"PARAMETER {self.extra}" if self.keyword == "PARAMETER" else self.keyword

    @property
    def position(self) -> SourcePosition:
        """Return the position of the keyword."""
        return self.source.position(self.start)

    @property
    def extra_position(self) -> SourcePosition:
        """Return the position of the extra."""
        return self.source.position(self.extra_start)

    @property
    def value_position(self) -> SourcePosition:
        """Return the position of the value."""
        return self.source.position(self.value_start)

    @property
    def raw(self) -> str:
        """Return the source text from keyword to end."""
        return self.source.text[self.start : self.end]


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """The value of an instruction with its offsets."""

    text: str
    start: int
    end: int  # offset after the last character of the instruction
    is_plain: bool = False
    extra: str | None = None
    extra_start: int = 0


def most_of(kind: str) -> float:
    """Return the largest number of instructions of a kind, such as ``PARAMETER stop``."""
    return MAX_REPEATED.get(kind, math.inf)
