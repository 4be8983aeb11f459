"""Calls whose every parameter stands between tags, without quotes.

<tool_call>
<function=weather>
<parameter=city>
Paris
</parameter>
</function>
</tool_call>
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from localrun.chat.profiles.forms import Frame, FreeText, Json, Maybe, Pattern, Piece, Region, Tags
from localrun.chat.profiles.marks import KEY, NAME, compiled, filled, loosely
from localrun.chat.profiles.tools import read_json, skip_blanks, types_of
from localrun.chat.tool_calls import ToolCall

if TYPE_CHECKING:
    from localrun.chat.profiles.tools import JsonObject, Tool, Tools

_NUMBERS = {"integer": "number"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TaggedCalls:
    """``before_name`` NAME ``after_name`` (``before_key`` KEY ``after_key`` VALUE ``value_end``)*.

    Where ``after_json`` is given, it stands instead of ``after_key`` before a value
    that is JSON. ``{key}`` and ``{type}`` in tags stand for the parameter's.
    """

    before_name: str
    after_name: str
    before_key: str
    after_key: str
    value_end: str
    closing: str
    after_json: str = ""
    section: Tags | None = None
    separator: str = "\n"
    is_padded: bool = False  # a line break before and after a value is no part of it

    @property
    def region(self) -> Region:
        """The section, or else one call."""
        tags = self.section or Tags(self.before_name, self.closing)
        return Region(
            openings=(tags.opening.strip(),), closing=tags.closing.strip(), has_strings=False
        )

    @property
    def frame(self) -> Frame:
        """The section's tags."""
        section = self.section or Tags("", "")
        return Frame(opening=section.opening, separator=self.separator, closing=section.closing)

    @property
    def head(self) -> None:
        """Nothing: the arguments are not JSON."""
        return

    def pieces(self, tool: Tool) -> list[Piece]:
        """Return the tags with the name, then each parameter in the schema's order."""
        pieces = filled(f"{self.before_name}{tool.name}{self.after_name}")
        for key, schema in tool.properties.items():
            parameter = self._parameter(key, schema)
            pieces += parameter if tool.requires(key) else (Maybe(parameter),)
        return [*pieces, self.closing]

    def read(self, text: str, tools: Tools) -> list[ToolCall] | None:
        """Read calls one after the other, within the section's tags."""
        start, end = 0, len(text)
        if self.section:
            opening, closing = self.section.opening.strip(), self.section.closing.strip()
            start += len(opening)
            end -= len(closing) * text.endswith(closing)
        calls: list[ToolCall] = []
        while (start := skip_blanks(text, start)) < end:
            named = _marks(self).name.match(text, start)
            if not named:
                return None
            arguments, start = self._arguments(text, named, tools)
            closed = _marks(self).closing.match(text, start)
            if not closed and start < end:
                return None
            start = closed.end() if closed else start
            calls.append(ToolCall(named["name"], arguments))
        return calls or None

    def _arguments(
        self, text: str, named: re.Match[str], tools: Tools
    ) -> tuple[dict[str, Any], int]:
        """Return the parameters that follow a name, and where they end."""
        arguments: dict[str, Any] = {}
        start = named.end()
        while parameter := _marks(self).parameter.match(text, start):
            value = parameter["value"]
            if self.is_padded:
                value = value.removeprefix("\n").removesuffix("\n")
            arguments[parameter["key"]] = self._value(parameter, value, named["name"], tools)
            start = parameter.end()
        return arguments, start

    def _value(self, parameter: re.Match[str], text: str, tool: str, tools: Tools) -> Any:  # noqa: ANN401
        if not self.after_json:
            return tools.value_of(tool, parameter["key"], text)
        if parameter["is_text"] is not None:
            return text
        try:
            return read_json(text)
        except ValueError:
            return text

    def _parameter(self, key: str, schema: JsonObject) -> tuple[Piece, ...]:
        types = types_of(schema)
        is_text = not types or "string" in types
        kind = next(iter(sorted(types)), "object")
        after = self.after_key if is_text or not self.after_json else self.after_json
        after = after.replace("{type}", _NUMBERS.get(kind, kind))
        pad = "\n" if self.is_padded else ""
        end = pad + self.value_end.replace("{key}", key)
        start = self.before_key + key + after + pad
        choices = [choice for choice in schema.get("enum", ()) if isinstance(choice, str)]
        if is_text and choices:
            return (start, Pattern("|".join(map(re.escape, choices))), end)
        return (start, FreeText(end)) if is_text else (start, Json(schema), end)


@dataclass(frozen=True, slots=True)
class _Marks:
    name: re.Pattern[str]
    parameter: re.Pattern[str]
    closing: re.Pattern[str]


@lru_cache(64)
def _marks(form: TaggedCalls) -> _Marks:
    """Return how the tags of a form are found; a value ends at the first tag that ends it."""
    after = f"(?P<is_text>{loosely(form.after_key.rstrip())})"
    if form.after_json:
        after = f"(?:{after}|{loosely(form.after_json.rstrip())})"
    value = rf"(?P<value>[\s\S]*?){loosely(form.value_end.strip())}\s*"
    name = rf"{loosely(form.before_name.strip())}\s*{NAME}\s*{loosely(form.after_name.strip())}\s*"
    return _Marks(
        compiled(name),
        compiled(rf"{loosely(form.before_key.strip())}\s*{KEY}\s*{after}{value}"),
        compiled(rf"\s*{loosely(form.closing.strip())}"),
    )
