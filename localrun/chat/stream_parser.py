"""Take a reply apart while it comes: text, thought, tool calls.

Law: however the reply is cut into pieces, the parts add up to the same. Text that
may be the beginning of a tag is held back; a tool call comes when it is complete;
one that is malformed or never closed comes back as the text it was. Each
character is looked at a bounded number of times.
"""

from __future__ import annotations

import json
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
        self._profile = profile
        self._openings = [tags for tags in (profile.thinking, profile.tool_call) if tags]
        thinking = profile.thinking
        opened = thinking is not None and prompt_tail.rstrip().endswith(thinking.opening)
        self._inside: Tags | None = thinking if opened else None
        self._held = ""
        self._call: list[str] = []
        self._skip_blank = opened  # blank lines after a tag are the template's, not the answer's

    def push(self, text: str) -> list[Part]:
        """Take the next piece of the reply and return the parts that are certain now."""
        self._held += text
        parts: list[Part] = []
        while self._advance(parts):
            pass
        return parts

    def finish(self) -> list[Part]:
        """Return what was held back, at the end of the reply."""
        parts: list[Part] = []
        held, self._held = self._held, ""
        if self._inside is not None and self._inside == self._profile.tool_call:
            held = self._inside.opening + "".join(self._call) + held
            self._inside, self._call = None, []
        self._emit(held, parts)
        return parts

    def _advance(self, parts: list[Part]) -> bool:
        """Move over one tag, or over all that is certainly none; False when more text is needed."""
        tags = [self._inside.closing] if self._inside else [tag.opening for tag in self._openings]
        found = min(
            ((place, tag) for tag in tags if (place := self._held.find(tag)) >= 0), default=None
        )
        if found is None:
            keep = max((_overlap(self._held, tag) for tag in tags), default=0)
            cut = len(self._held) - keep
            before, self._held = self._held[:cut], self._held[cut:]
            self._emit(before, parts)
            return False
        place, tag = found
        before, self._held = self._held[:place], self._held[place + len(tag) :]
        self._emit(before, parts)
        self._cross(tag, parts)
        return True

    def _cross(self, tag: str, parts: list[Part]) -> None:
        """Enter or leave a region."""
        left = self._inside
        self._inside = (
            next((tags for tags in self._openings if tags.opening == tag), None)
            if left is None
            else None
        )
        self._skip_blank = True
        if left is not None and left == self._profile.tool_call:
            body, self._call = "".join(self._call), []
            parts.append(_parse_call(body) or Text(left.opening + body + left.closing))

    def _emit(self, text: str, parts: list[Part]) -> None:
        if self._inside is not None and self._inside == self._profile.tool_call:
            self._call.append(text)
            return
        if self._skip_blank:
            text = text.lstrip()
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


def _overlap(text: str, tag: str) -> int:
    """Return the length of the longest end of ``text`` that ``tag`` begins with."""
    for length in range(min(len(text), len(tag) - 1), 0, -1):
        if text.endswith(tag[:length]):
            return length
    return 0
