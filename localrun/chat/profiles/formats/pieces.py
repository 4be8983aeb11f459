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
    """A value that a JSON schema describes; over several lines, if it ``is_indented``."""

    schema: JsonObject
    is_indented: bool = False


@dataclass(frozen=True, slots=True)
class FreeText:
    """Any text, through its closing; where ``inner`` is given, a text that it describes."""

    closing: str
    inner: str = ""  # a regular expression between slashes


@dataclass(frozen=True, slots=True)
class Pattern:
    """A text that a regular expression describes."""

    regex: str


@dataclass(frozen=True, slots=True)
class Maybe:
    """What may be left out."""

    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of several ways to go on."""

    options: tuple[tuple[Piece, ...], ...]


@dataclass(frozen=True, slots=True)
class Repeated:
    """Any number of items, also none, with a separator between two."""

    item: tuple[Piece, ...]
    separator: tuple[Piece, ...] = ()


@dataclass(frozen=True, slots=True)
class CallParameter:
    """What a parameter of a call is made of."""

    pieces: tuple[Piece, ...]
    is_required: bool


@dataclass(frozen=True, slots=True)
class Parameters:
    """Parameters in any order, each once, the required ones without fail."""

    items: tuple[CallParameter, ...]
    separator: tuple[Piece, ...] = ()


@dataclass(frozen=True, slots=True)
class Named:
    """A rule that may stand inside itself: ``pieces`` refer to it by `Again`."""

    name: str
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Again:
    """The rule of this name, once more."""

    name: str


Piece = str | Json | FreeText | Pattern | Maybe | OneOf | Repeated | Parameters | Named | Again
