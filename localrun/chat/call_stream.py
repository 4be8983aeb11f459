"""Streaming parser of tool calls whose arguments are JSON.

Emits the name of a call at once, and its arguments as they are written. Works on the text of one
call region. The parts depend on the text alone, never on how it was cut into pieces. Calls that
the parser cannot follow are emitted when the region has ended and is parsed as a whole.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from localrun.chat.tool_calls import CallArguments, CallBegun, CallPart, parts_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.chat.profiles.formats.format import ToolCallFormat
    from localrun.chat.profiles.tools import Tools
    from localrun.chat.tool_calls import ToolCall

MAX_HEAD_CHARS = 600  # before the arguments; a call with more is emitted when the region ends
_MARKS = re.compile(r'["\\{}\[\]]')


class CallStream:
    """The state of one region."""

    def __init__(self, call_format: ToolCallFormat, tools: Tools) -> None:
        self._head = call_format.head
        self._tools = tools
        self._text = ""  # in no part yet
        self._value: _JsonValue | None = None  # the arguments that are being written
        self._begun: list[str] = []  # names

    @property
    def has_begun(self) -> bool:
        """Return whether any call was emitted."""
        return bool(self._begun)

    def push(self, text: str) -> list[CallPart]:
        """Add the next piece of the region; return the parts that it completes."""
        parts: list[CallPart] = []
        if self._head is None and self._value is None:
            return parts
        self._text += text
        while self._text and (self._value is not None or self._begins(parts)):
            self._emit(parts)
        return parts

    def remaining(self, calls: Sequence[ToolCall]) -> list[CallPart]:
        """Return the parts not yet emitted of the calls that the whole region has."""
        if [call.name for call in calls[: len(self._begun)]] != self._begun:
            return []
        return [part for call in calls[len(self._begun) :] for part in parts_of(call)]

    def _begins(self, parts: list[CallPart]) -> bool:
        """Return whether arguments begin; emit the name of their call."""
        if self._head is None:
            return False
        head = self._head.match(self._text[:MAX_HEAD_CHARS])
        if head is None or head["name"] not in self._tools.by_name:
            if head or len(self._text) >= MAX_HEAD_CHARS:
                self._head = None  # calls keep their order, so the next ones wait as well
            return False
        parts.append(CallBegun(head["name"]))
        self._begun.append(head["name"])
        self._text = self._text[head.end() :]
        self._value = _JsonValue()
        return True

    def _emit(self, parts: list[CallPart]) -> None:
        """Emit the text up to the end of the arguments."""
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
    """Search for the end of a JSON object by its brackets."""

    def __init__(self) -> None:
        self._depth = 0
        self._in_string = False
        self._is_escaped = False  # the next character

    def end(self, text: str) -> int | None:
        """Return the offset of the object's end in its next piece, or None if it goes on."""
        escaped = 0 if self._is_escaped else -1
        for match in _MARKS.finditer(text):
            mark, offset = match.group(), match.start()
            if offset == escaped:
                continue
            if self._in_string:
                escaped = match.end() if mark == "\\" else escaped
                self._in_string = mark != '"'
            elif mark == '"':
                self._in_string = True
            elif mark in "{[":
                self._depth += 1
            elif mark in "}]":
                self._depth -= 1
                if self._depth == 0:
                    return match.end()
        self._is_escaped = escaped == len(text)
        return None
