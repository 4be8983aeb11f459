"""Tool-call formats with the name between tags and the arguments as JSON.

[TOOL_CALLS]weather[ARGS]{"city": "Paris"}

<function=weather>{"city": "Paris"}</function>
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from localrun.chat.profiles.formats.format import Frame, Region, Tags
from localrun.chat.profiles.formats.notations import json_arguments
from localrun.chat.profiles.formats.pieces import OneOf, Piece
from localrun.chat.profiles.formats.tag_patterns import NAME, compiled, filled, loosely, until_hole
from localrun.chat.profiles.formats.values import read_json_at, skip_blanks
from localrun.chat.tool_calls import ToolCall

if TYPE_CHECKING:
    from localrun.chat.profiles.tools import Tool, Tools


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedCalls:
    """``before_name`` NAME ``after_name`` JSON ``closing``, once or several times in a section."""

    before_name: str
    after_name: str
    closing: str = ""
    section: Tags | None = None
    separator: str = ""
    other_openings: tuple[str, ...] = ()  # alternatives to ``before_name`` that models write
    header_end: str = ""  # the end of every alternative before the JSON
    other_heads: tuple[str, ...] = ()  # alternatives before the JSON, with {name}

    @property
    def region(self) -> Region:
        """The section, or one call if there is no section."""
        if self.section:
            single = Tags(until_hole(self.before_name), self.closing.strip())
            return Region(
                openings=(self.section.opening.strip(),),
                closing=self.section.closing.strip(),
                single=single if self.closing else None,
            )
        return Region(
            openings=(until_hole(self.before_name), *self.other_openings),
            header_end=self.header_end,
            closing=self.closing.strip(),
        )

    @property
    def frame(self) -> Frame:
        """The section's tags."""
        section = self.section or Tags("", "")
        return Frame(opening=section.opening, separator=self.separator, closing=section.closing)

    @property
    def head(self) -> re.Pattern[str]:
        """The tags with the name."""
        return _first_or_next(self)

    def pieces(self, tool: Tool) -> list[Piece]:
        """Return the tags with the name, and the arguments."""
        heads = [f"{self.before_name}{tool.name}{self.after_name}"]
        heads += [head.replace("{name}", tool.name) for head in self.other_heads]
        options = [tuple(filled(head)) for head in heads]
        start = options[0] if len(options) == 1 else (OneOf(tuple(options)),)
        return [*start, *json_arguments(tool), *([self.closing] if self.closing else [])]

    def read(self, text: str, tools: Tools) -> list[ToolCall] | None:  # noqa: ARG002 - JSON has types
        """Return the calls of a region one after the other, or None if one is malformed."""
        head, start, end = _head(self), 0, len(text)
        if self.section:
            opening = self.section.opening.strip()
            start = len(opening) * text.startswith(opening)
            end -= len(self.section.closing.strip()) * text.endswith(self.section.closing.strip())
        calls = []
        closing = self.closing.strip()
        while (start := skip_blanks(text, start)) < end:
            named = head.match(text, start)
            try:
                arguments, start = read_json_at(text, named.end()) if named else (None, 0)
            except ValueError:
                return None
            if not named or not isinstance(arguments, dict):
                return None
            calls.append(ToolCall(named["name"], arguments))
            start = skip_blanks(text, start)
            start += len(closing) * text.startswith(closing, start)
        return calls or None


@lru_cache(64)
def _head(call_format: NamedCalls) -> re.Pattern[str]:
    return compiled(_expression(call_format))


def _expression(call_format: NamedCalls) -> str:
    openings = [loosely(call_format.before_name.strip()), *map(loosely, call_format.other_openings)]
    after = loosely(call_format.after_name.strip())
    if call_format.header_end.strip():
        after = rf"[^{{}}]*?{re.escape(call_format.header_end.strip())}"
    return rf"(?:{'|'.join(openings)})\s*{NAME}\s*{after}"


@lru_cache(64)
def _first_or_next(call_format: NamedCalls) -> re.Pattern[str]:
    before = [loosely(call_format.closing.strip())]
    if call_format.section:
        before.append(loosely(call_format.section.opening.strip()))
    head = _expression(call_format)
    return compiled(rf"\s*(?:{'|'.join(before)})?\s*{head}\s*(?={{)")
