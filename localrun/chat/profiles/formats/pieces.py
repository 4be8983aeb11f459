"""Pieces of a tool call's grammar: literal tags, JSON values, free text and their combinations.

A `ToolCallFormat` lists the pieces of a call in order; ``lark.py`` writes them as grammar rules.
Pieces are immutable values that know neither a vocabulary nor llguidance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from localrun.chat.profiles.tools import JsonObject


@dataclass(frozen=True, slots=True)
class Json:
    """A value that a JSON schema describes, over several lines if it ``is_indented``."""

    schema: JsonObject
    is_indented: bool = False


@dataclass(frozen=True, slots=True)
class FreeText:
    """Any text, or a text that ``inner`` describes, and its closing tag."""

    closing: str
    inner: str = ""  # a regular expression between slashes


@dataclass(frozen=True, slots=True)
class Pattern:
    """A text that a regular expression (in llguidance's syntax) describes."""

    regex: str


@dataclass(frozen=True, slots=True)
class Maybe:
    """Optional pieces."""

    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class OneOf:
    """Alternatives."""

    options: tuple[tuple[Piece, ...], ...]


@dataclass(frozen=True, slots=True)
class Repeated:
    """Zero or more items, with a separator between two."""

    item: tuple[Piece, ...]
    separator: tuple[Piece, ...] = ()


@dataclass(frozen=True, slots=True)
class CallParameter:
    """The pieces of one parameter of a call."""

    pieces: tuple[Piece, ...]
    is_required: bool


@dataclass(frozen=True, slots=True)
class Parameters:
    """Parameters in any order, each at most once, the required ones exactly once."""

    items: tuple[CallParameter, ...]
    separator: tuple[Piece, ...] = ()


@dataclass(frozen=True, slots=True)
class Named:
    """A recursive rule: ``pieces`` refer to it by `Again`."""

    name: str
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Again:
    """A reference to the `Named` rule of this name."""

    name: str


Piece = str | Json | FreeText | Pattern | Maybe | OneOf | Repeated | Parameters | Named | Again
