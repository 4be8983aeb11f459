"""Tell a tool call while it is being written: its name at once, then its arguments.

For forms whose arguments are JSON. Works on the text of one region of a reply; what it
tells depends on the text alone, never on how it was cut. What it cannot follow is told
at the end, when the region is read as a whole.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from localrun.chat.tool_calls import CallArguments, CallBegun, CallPart, told

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.chat.profiles.formats.format import ToolCallFormat
    from localrun.chat.profiles.tools import Tools
    from localrun.chat.tool_calls import ToolCall

LONGEST_HEAD = 600  # characters before the arguments; what has more is told at the end
_MARKS = re.compile(r'["\\{}\[\]]')


class CallStream:
    """The calls of one region."""

    def __init__(self, form: ToolCallFormat, tools: Tools) -> None:
        self._head = form.head
        self._tools = tools
        self._text = ""  # that no part has told yet
        self._value: _JsonValue | None = None  # of the arguments that are being written
        self._begun: list[str] = []

    @property
    def has_begun(self) -> bool:
        """Return whether any call was told."""
        return bool(self._begun)

    def push(self, text: str) -> list[CallPart]:
        """Take the next piece of the region."""
        parts: list[CallPart] = []
        if self._head is None and self._value is None:
            return parts
        self._text += text
        while self._text and (self._value is not None or self._begins(parts)):
            self._tell(parts)
        return parts

    def rest(self, calls: Sequence[ToolCall]) -> list[CallPart]:
        """Return what was not told of the calls that the whole region has."""
        if [call.name for call in calls[: len(self._begun)]] != self._begun:
            return []
        return [part for call in calls[len(self._begun) :] for part in told(call)]

    def _begins(self, parts: list[CallPart]) -> bool:
        """Look for the beginning of arguments."""
        if self._head is None:
            return False
        found = self._head.match(self._text[:LONGEST_HEAD])
        if found is None or found["name"] not in self._tools.by_name:
            if found or len(self._text) >= LONGEST_HEAD:
                self._head = None  # calls keep their order, so the next ones wait as well
            return False
        parts.append(CallBegun(found["name"]))
        self._begun.append(found["name"])
        self._text = self._text[found.end() :]
        self._value = _JsonValue()
        return True

    def _tell(self, parts: list[CallPart]) -> None:
        """Pass on what the arguments have of the text."""
        if self._value is None:
            return
        end = self._value.end(self._text)
        if end is None:
            parts.append(CallArguments(self._text, is_last=False))
            self._text = ""
        else:
            parts.append(CallArguments(self._text[:end], is_last=True))
            self._text, self._value = self._text[end:], None


class _JsonValue:
    """Finds the end of an object by its brackets."""

    def __init__(self) -> None:
        self._depth = 0
        self._in_string = False
        self._is_escaped = False  # the next character

    def end(self, text: str) -> int | None:
        """Return where the object ends in its next piece, None when it goes on."""
        escaped = 0 if self._is_escaped else -1
        for found in _MARKS.finditer(text):
            mark, place = found.group(), found.start()
            if place == escaped:
                continue
            if self._in_string:
                escaped = found.end() if mark == "\\" else escaped
                self._in_string = mark != '"'
            elif mark == '"':
                self._in_string = True
            elif mark in "{[":
                self._depth += 1
            elif mark in "}]":
                self._depth -= 1
                if self._depth == 0:
                    return found.end()
        self._is_escaped = escaped == len(text)
        return None
