"""Profile of a model's replies: reasoning tags, tool-call format, channels and dropped tags.

A profile is found once for each template (``discovery.py``), and is sent
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
    """Messages within a reply, each with a header that names its recipient.

    <|start|>assistant<|channel|>analysis<|message|>A thought.<|end|>
    <|start|>assistant to=functions.f<|channel|>commentary <|constrain|>json<|message|>{}<|call|>
    """

    openings: tuple[str, ...]
    end: str
    thought: str  # a regular expression of headers of thoughts
    tool: str  # the prefix of a tool's name
    has_call_messages: bool = False  # calls occur in messages to tools only

    def kind(self, header: str) -> Literal["answer", "thought", "call"]:
        """Return the kind of a message; a message to an unknown recipient is a thought."""
        recipient = _RECIPIENT.search(header)
        reader = recipient[1] if recipient else "user"
        if re.search(self.thought, header) and not (self.tool and reader.startswith(self.tool)):
            return "thought"
        if reader in _READERS:
            return "answer"
        return "call" if reader.startswith(self.tool) else "thought"


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The regions of a model's replies."""

    thinking: Tags | None = None
    tool_call: ToolCallFormat | None = None
    dropped: tuple[str, ...] = ()  # tags around answers, which are not part of them
    prompt_tail: str = ""  # the prompt's text after the last user message
    is_fallback: bool = False  # the tool prompt (fallback.py) defines the format
    thought_end: str = ""  # the closing tag with the blanks that the template writes
    channels: Channels | None = None

    @property
    def answer_openings(self) -> tuple[str, ...]:
        """Tags that begin the answer, also behind reasoning that was not closed."""
        return tuple(tag for tag in self.dropped if tag in ANSWER_OPENINGS)

    @property
    def special_tokens(self) -> tuple[str, ...]:
        """Tags that the runner must detokenize even if they are control tokens."""
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
        tokens = (token for text in texts for token in _TOKEN.findall(text))
        return tuple(dict.fromkeys(tokens))


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
    """Return the literal texts among the pieces."""
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
