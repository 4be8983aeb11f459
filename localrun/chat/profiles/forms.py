"""The values that say how a model family writes thoughts and tool calls.

A form of call is one value behind three uses: what region of a reply to collect
(``region``), how to read it (``read``), and what a grammar forces (``frame`` around
``pieces``). It knows text and JSON, no tokens and no engine.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from localrun.chat.profiles.tools import Tool

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.chat.profiles.tools import JsonObject, Tools
    from localrun.chat.tool_calls import ToolCall


@dataclass(frozen=True, slots=True)
class Tags:
    """What begins and ends a region of a reply."""

    opening: str
    closing: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """Where tool calls stand in a reply.

    From an opening, through ``header_end``, to ``closing``; without a closing, to the
    end of the JSON value that follows. ``single`` is around one call: models leave out the
    tags of the section around all calls.
    """

    openings: tuple[str, ...]
    header_end: str = ""
    closing: str = ""
    has_strings: bool = True  # a closing inside a JSON string ends nothing
    is_bare: bool = False  # a reply that begins with "{" is one, too
    single: Tags | None = None
    quote: Tags | None = None  # a closing between these ends nothing

    @property
    def all_openings(self) -> tuple[str, ...]:
        """The openings, that of a single call among them."""
        return (*self.openings, self.single.opening) if self.single else self.openings

    def closing_of(self, opening: str) -> str:
        """Return what ends a region that was opened so."""
        is_single = self.single is not None and opening == self.single.opening
        return self.single.closing if self.single and is_single else self.closing


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What stands around all calls of a reply, and between two."""

    opening: str = ""
    separator: str = "\n"
    closing: str = ""


@dataclass(frozen=True, slots=True)
class Json:
    """A value that a JSON schema describes."""

    schema: JsonObject


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
class Parameter:
    """What a parameter of a call is made of."""

    pieces: tuple[Piece, ...]
    is_required: bool


@dataclass(frozen=True, slots=True)
class Parameters:
    """Parameters in any order, each once, the required ones without fail."""

    items: tuple[Parameter, ...]
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


class CallForm(Protocol):
    """How a family writes tool calls."""

    @property
    def region(self) -> Region:
        """Where they stand."""

    @property
    def frame(self) -> Frame:
        """What stands around them."""

    @property
    def head(self) -> re.Pattern[str] | None:
        """What stands before the JSON object of a call's arguments.

        From the region's beginning, or the arguments before; its group ``name`` is the
        tool's. None where arguments are not written in JSON.
        """

    def pieces(self, tool: Tool) -> Sequence[Piece]:
        """Return what a correct call of a tool is made of."""

    def read(self, text: str, tools: Tools) -> list[ToolCall] | None:
        """Return the calls of a region, its tags included; None when it is malformed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The regions that a model's replies may have."""

    thinking: Tags | None = None
    tool_call: CallForm | None = None
    dropped: tuple[str, ...] = ()  # tags that are no part of the answer
    prompt_tail: str = ""  # what the template writes after the last question
    is_fallback: bool = False  # the form is asked for by us, in requests with tools
    thought_end: str = ""  # the closing of thoughts with the blanks that the template writes

    @property
    def special_tokens(self) -> tuple[str, ...]:
        """What the runner must show, although it may be control tokens of the vocabulary."""
        texts = list(self.dropped)
        if self.thinking:
            texts += (self.thinking.opening, self.thinking.closing)
        if self.tool_call:
            region, frame = self.tool_call.region, self.tool_call.frame
            texts += (*region.openings, region.header_end, region.closing)
            texts += (frame.opening, frame.separator, frame.closing)
            texts += _texts(self.tool_call.pieces(_SAMPLE))
        found = (token for text in texts for token in _TOKEN.findall(text))
        return tuple(dict.fromkeys(found))


_TOKEN = re.compile(r"<[^<>\s=]+>|\[/?[A-Z_]+\]|\]<\]\w+\[>\[")
_SAMPLE = Tool(
    "f",
    {
        "properties": {"a": {"type": "string"}, "b": {"type": "integer"}},
        "required": ["a", "b"],
    },
)


def _texts(pieces: Sequence[Piece]) -> list[str]:
    texts: list[str] = []
    for piece in pieces:
        match piece:
            case str():
                texts.append(piece)
            case FreeText(closing):
                texts.append(closing)
            case OneOf(options):
                texts += _texts([inner for option in options for inner in option])
            case Maybe(inner) | Named(_, inner) | Repeated(inner):
                texts += _texts(inner)
            case Parameters(items):
                texts += _texts([inner for item in items for inner in item.pieces])
    return texts
