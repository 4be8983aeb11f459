"""Take a reply apart while it comes: text, thought, tool calls.

Law: however the reply is cut into pieces, the parts add up to the same. Text that
may be the beginning of a tag is held back; a tool call comes when it is complete;
one that is malformed or never closed comes back as the text it was. Each
character is looked at a bounded number of times.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from localrun.chat.profile import Profile, Tags


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Thought:
    """A piece of the thought."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A whole call of a tool."""

    name: str
    arguments: dict[str, Any]


Part = Text | Thought | ToolCall


class StreamParser:
    """The state of one reply; ``prompt_tail`` tells what the template has opened already."""

    def __init__(self, profile: Profile, prompt_tail: str = "") -> None:
        self._thinking = profile.thinking
        self._tool_call = profile.tool_call
        self._regions = {
            tags.opening: tags for tags in (profile.thinking, profile.tool_call) if tags
        }
        self._inside: Tags | None = None
        self._held = ""  # may be the beginning of a tag; shorter than one
        self._call: list[str] = []
        self._skip_blank = False  # blank lines after a tag are the template's, not the answer's
        if self._thinking and prompt_tail.rstrip().endswith(self._thinking.opening):
            self._enter(self._thinking)

    def push(self, text: str) -> list[Part]:
        """Take the next piece of the reply and return the parts that are certain now."""
        text = self._held + text
        parts: list[Part] = []
        start = 0
        while tag := self._next_tag(text, start):
            self._emit(text[start : tag.start()], parts)
            self._cross(tag.group(), parts)
            start = tag.end()
        end = len(text) - max((_overlap(text, tag, start) for tag in self._awaited()), default=0)
        self._emit(text[start:end], parts)
        self._held = text[end:]
        return parts

    def finish(self) -> list[Part]:
        """Return what was held back, at the end of the reply."""
        parts: list[Part] = []
        held, self._held = self._held, ""
        if self._tool_call and self._inside == self._tool_call:
            held = self._tool_call.opening + "".join(self._call) + held
            self._inside, self._skip_blank = None, False
        self._emit(held, parts)
        return parts

    def _awaited(self) -> list[str]:
        """Return the tags that mean something here."""
        return [self._inside.closing] if self._inside else list(self._regions)

    def _next_tag(self, text: str, start: int) -> re.Match[str] | None:
        tags = self._awaited()
        pattern = "|".join(map(re.escape, tags))  # compiled once: re keeps it
        return re.compile(pattern).search(text, start) if tags else None

    def _cross(self, tag: str, parts: list[Part]) -> None:
        """Enter or leave a region."""
        if self._inside is None:
            self._enter(self._regions[tag])
            return
        left, self._inside = self._inside, None
        self._skip_blank = True
        if left == self._tool_call:
            body, self._call = "".join(self._call), []
            call = _parse_call(body)
            self._skip_blank = call is not None
            parts.append(call or Text(left.opening + body + left.closing))

    def _enter(self, region: Tags) -> None:
        self._inside = region
        self._skip_blank = region == self._thinking

    def _emit(self, text: str, parts: list[Part]) -> None:
        if self._inside is not None and self._inside == self._tool_call:
            self._call.append(text)
            return
        if self._skip_blank:
            text = text.lstrip("\r\n")
            self._skip_blank = not text
        if text:
            parts.append(Text(text) if self._inside is None else Thought(text))


def _parse_call(body: str) -> ToolCall | None:
    """Return the call that a body of JSON states, None when it states none."""
    try:
        call = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(call, dict) or not isinstance(call.get("name"), str):
        return None
    arguments = call.get("arguments", {})
    return ToolCall(call["name"], arguments) if isinstance(arguments, dict) else None


def _overlap(text: str, tag: str, start: int) -> int:
    """Return the length of the longest end of ``text[start:]`` that ``tag`` begins with."""
    for length in range(min(len(text) - start, len(tag) - 1), 0, -1):
        if text.endswith(tag[:length]):
            return length
    return 0
