"""Profile of a model's replies: reasoning tags, tool-call format, channels and dropped tags.

A profile is found once for each template (``recognition.py``, ``discovery.py``), and is sent
from the runner to the server (``wire.py``). It is an immutable value without a template.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from localrun.chat.profiles.formats.pieces import (
    FreeText,
    Maybe,
    Named,
    OneOf,
    Parameters,
    Repeated,
)
from localrun.chat.profiles.tools import Tool

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.chat.profiles.formats.format import Tags, ToolCallFormat
    from localrun.chat.profiles.formats.pieces import Piece

ANSWER_OPENINGS = frozenset(
    {
        "<|channel|>final<|message|>",
        "<|open|>response<|sep|>",
        "<|START_RESPONSE|>",
        "<|START_TEXT|>",
        ">>>all\n",
    }
)


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
    tool_call: ToolCallFormat | None = None
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
