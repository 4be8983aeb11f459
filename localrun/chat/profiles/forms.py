"""The values that say how a model family writes thoughts and tool calls.

A form of call is one value behind three uses: what region of a reply to collect
(``region``), how to read it (``read``), and what a grammar forces (``frame`` around
``pieces``). It knows text and JSON, no tokens and no engine.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from localrun.chat.profiles.tools import Tool

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.chat.profiles.tools import JsonObject, Tools
    from localrun.chat.tool_calls import ToolCall


ANSWER_OPENINGS = frozenset(
    {
        "<|channel|>final<|message|>",
        "<|open|>response<|sep|>",
        "<|START_RESPONSE|>",
        "<|START_TEXT|>",
        ">>>all\n",
    }
)


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
class Channels:
    """Messages of a reply that begin with a header, which says whom each is for.

    <|start|>assistant<|channel|>analysis<|message|>A thought.<|end|>
    <|start|>assistant to=functions.f<|channel|>commentary <|constrain|>json<|message|>{}<|call|>
    """

    openings: tuple[str, ...]
    end: str
    thought: str  # a regular expression of headers of thoughts
    tool: str  # what precedes the name of a tool
    has_call_messages: bool = False  # calls stand in messages to tools only

    def kind(self, header: str) -> Literal["answer", "thought", "call"]:
        """Return what a message is; one for somebody who is not here is no answer."""
        recipient = _RECIPIENT.search(header)
        reader = recipient[1] if recipient else "user"
        if re.search(self.thought, header) and not (self.tool and reader.startswith(self.tool)):
            return "thought"
        if reader in _READERS:
            return "answer"
        return "call" if reader.startswith(self.tool) else "thought"


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The regions that a model's replies may have."""

    thinking: Tags | None = None
    tool_call: CallForm | None = None
    dropped: tuple[str, ...] = ()  # tags that are no part of the answer
    prompt_tail: str = ""  # what the template writes after the last question
    is_fallback: bool = False  # the form is asked for by us, in requests with tools
    thought_end: str = ""  # the closing of thoughts with the blanks that the template writes
    channels: Channels | None = None

    @property
    def answer_openings(self) -> tuple[str, ...]:
        """Tags behind which the answer stands, also where a thought was not closed."""
        return tuple(tag for tag in self.dropped if tag in ANSWER_OPENINGS)

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
        if self.channels:
            texts += (*self.channels.openings, self.channels.end)
        found = (token for text in texts for token in _TOKEN.findall(text))
        return tuple(dict.fromkeys(found))


_RECIPIENT = re.compile(r"\bto=([^\s<]+)")
_READERS = frozenset({"user", "assistant", "all"})
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
