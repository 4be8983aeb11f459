"""Tool-call formats with each parameter between tags, without quotes.

<tool_call>
<function=weather>
<parameter=city>
Paris
</parameter>
</function>
</tool_call>
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from localrun.chat.profiles.formats.format import Frame, Region, Tags
from localrun.chat.profiles.formats.nested_values import (
    nested_pieces,
    not_beginning_with,
    read_nested,
)
from localrun.chat.profiles.formats.notations import PYTHON
from localrun.chat.profiles.formats.pieces import (
    CallParameter,
    FreeText,
    Json,
    OneOf,
    Parameters,
    Pattern,
    Piece,
)
from localrun.chat.profiles.formats.tag_patterns import (
    KEY,
    NAME,
    compiled,
    escaped,
    filled,
    loosely,
)
from localrun.chat.profiles.formats.values import read_json, skip_blanks, types_of, value_of_text
from localrun.chat.tool_calls import ToolCall

if TYPE_CHECKING:
    import re

    from localrun.chat.profiles.tools import JsonObject, Tool, Tools

_NUMBERS = {"integer": "number"}
_JSON_TYPES = ("array", "boolean", "null", "number", "object")
# as JSON or Python writes these constants
_WORDS = {frozenset({"boolean"}): "true|false|True|False", frozenset({"null"}): "null|None"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TaggedCalls:
    """``before_name`` NAME ``after_name`` (``before_key`` KEY ``after_key`` VALUE ``value_end``)*.

    ``after_json``, if given, replaces ``after_key`` before a JSON value. ``{key}`` and ``{type}``
    in tags are placeholders for the parameter's key and type.
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
    is_padded: bool = False  # line breaks around a value are not part of it
    quote: Tags | None = None  # may enclose a text, which may then contain any tag
    element_mark: str = ""  # precedes the tags of elements that form lists and objects
    has_python_values: bool = False  # for lists and objects

    @property
    def region(self) -> Region:
        """The section, or one call if there is no section."""
        single = Tags(self.before_name.strip(), self.closing.strip())
        tags = self.section or single
        return Region(
            openings=(tags.opening.strip(),),
            closing=tags.closing.strip(),
            has_strings=False,
            single=single if self.section else None,
            quote=self.quote,
        )

    @property
    def frame(self) -> Frame:
        """The section's tags."""
        section = self.section or Tags("", "")
        return Frame(opening=section.opening, separator=self.separator, closing=section.closing)

    @property
    def head(self) -> None:
        """None: the arguments are not JSON."""
        return

    def pieces(self, tool: Tool) -> list[Piece]:
        """Return the tags with the name, and the parameters in any order."""
        items = [
            CallParameter(self._parameter(key, schema), tool.requires(key))
            for key, schema in tool.properties.items()
        ]
        name = filled(f"{self.before_name}{tool.name}{self.after_name}")
        return [*name, Parameters(tuple(items)), self.closing]

    def read(self, text: str, tools: Tools) -> list[ToolCall] | None:
        """Return the calls of a region one after the other, or None if one is malformed."""
        start, end = 0, len(text)
        if self.section:
            opening, closing = self.section.opening.strip(), self.section.closing.strip()
            start += len(opening) * text.startswith(opening)
            end -= len(closing) * text.endswith(closing)
        calls: list[ToolCall] = []
        while (start := skip_blanks(text, start)) < end:
            named = _marks(self).name.match(text, start)
            parsed = self._arguments(text, named, tools) if named else None
            if named is None or parsed is None:
                return None
            arguments, start = parsed
            closed = _marks(self).closing.match(text, start)
            if not closed and start < end:
                return None
            start = closed.end() if closed else start
            calls.append(ToolCall(named["name"], arguments))
        return calls or None

    def _arguments(
        self, text: str, named: re.Match[str], tools: Tools
    ) -> tuple[dict[str, Any], int] | None:
        """Return the parameters behind a name and their end offset, or None if one has no end."""
        arguments: dict[str, Any] = {}
        tool = tools.by_name.get(named["name"])
        start = named.end()
        while key := _marks(self).key.match(text, start):
            parsed = self._value(text, key, tool.schema_of(key["key"]) if tool else {})
            if parsed is None:
                return None
            arguments[key["key"]], start = parsed
            start = skip_blanks(text, start)
        return arguments, start

    def _value(self, text: str, key: re.Match[str], schema: JsonObject) -> tuple[Any, int] | None:
        """Return the value behind a key and its end offset, or None if it has no end tag."""
        end_tag = self.value_end.strip().replace("{key}", key["key"])
        start = key.end()
        begin = skip_blanks(text, start)
        if self.quote and text.startswith(self.quote.opening, begin):
            return _quoted(text, begin, self.quote, end_tag)
        if self.element_mark:
            return read_nested(text, start, key["key"], schema, self.element_mark)
        end = text.find(end_tag, start)
        if end < 0:
            return None
        value = text[start:end]
        if self.is_padded:
            value = value.removeprefix("\n").removesuffix("\n")
        return self._typed(value, schema, key), end + len(end_tag)

    def _typed(self, text: str, schema: JsonObject, key: re.Match[str]) -> Any:  # noqa: ANN401
        if not self.after_json:
            return value_of_text(text, schema)
        if key["is_text"] is not None:
            return text
        try:
            return read_json(text)
        except ValueError:
            return text

    def _parameter(self, key: str, schema: JsonObject) -> tuple[Piece, ...]:
        types = types_of(schema)
        is_text = not types or "string" in types
        options = [self._text_parameter(key, schema)] if is_text else []
        if self.after_json and not types:
            options += [self._json_parameter(key, {**schema, "type": kind}) for kind in _JSON_TYPES]
        elif self.after_json:
            kinds = sorted(types - {"string"})
            options += [self._json_parameter(key, {**schema, "type": kind}) for kind in kinds]
        elif not is_text:
            options = [self._json_parameter(key, schema)]
        return options[0] if len(options) == 1 else (OneOf(tuple(options)),)

    def _text_parameter(self, key: str, schema: JsonObject) -> tuple[Piece, ...]:
        start, end = self._around(key, self.after_key)
        if self.element_mark:
            return (start, *nested_pieces(schema, end, self.element_mark))
        choices = [choice for choice in schema.get("enum", ()) if isinstance(choice, str)]
        if choices:
            return (start, Pattern("|".join(map(escaped, choices))), self._pad + end)
        return (start, *self._free_text(end))

    def _json_parameter(self, key: str, schema: JsonObject) -> tuple[Piece, ...]:
        types = types_of(schema)
        kind = next(iter(sorted(types)), "object")
        after = self.after_json.replace("{type}", _NUMBERS.get(kind, kind)) or self.after_key
        start, end = self._around(key, after)
        if self.element_mark:
            return (start, *nested_pieces(schema, end, self.element_mark))
        return (start, *self._structured(schema, types), self._pad + end)

    def _around(self, key: str, after: str) -> tuple[str, str]:
        """Return the tags before and after a value."""
        return self.before_key + key + after + self._pad, self.value_end.replace("{key}", key)

    @property
    def _pad(self) -> str:
        return "\n" if self.is_padded else ""

    def _free_text(self, end: str) -> tuple[Piece, ...]:
        if self.quote is None:
            return (FreeText(end),)
        quoted = (self.quote.opening, FreeText(self.quote.closing), end)
        return (OneOf((quoted, (FreeText(end, not_beginning_with(self.quote.opening)),))),)

    def _structured(self, schema: JsonObject, types: frozenset[str]) -> tuple[Piece, ...]:
        if types in _WORDS:
            return (Pattern(_WORDS[types]),)
        return PYTHON.value(schema) if self.has_python_values else (Json(schema),)


def _quoted(text: str, start: int, quote: Tags, end_tag: str) -> tuple[str, int] | None:
    """Return the text between the quotes at ``start`` and the offset behind its end tag."""
    end = text.find(quote.closing, start)
    after = skip_blanks(text, end + len(quote.closing))
    if end < 0 or not text.startswith(end_tag, after):
        return None
    return text[start + len(quote.opening) : end], after + len(end_tag)


@dataclass(frozen=True, slots=True)
class _Marks:
    name: re.Pattern[str]
    key: re.Pattern[str]
    closing: re.Pattern[str]


@lru_cache(64)
def _marks(call_format: TaggedCalls) -> _Marks:
    """Return the patterns of a format's tags; a value ends at the first tag that can end it."""
    after = f"(?P<is_text>{loosely(call_format.after_key.rstrip())})"
    if call_format.after_json:
        after = f"(?:{after}|{loosely(call_format.after_json.rstrip())})"
    before_name = loosely(call_format.before_name.strip())
    after_name = loosely(call_format.after_name.strip())
    return _Marks(
        compiled(rf"{before_name}\s*{NAME}\s*{after_name}\s*"),
        compiled(rf"{loosely(call_format.before_key.strip())}\s*{KEY}\s*{after}"),
        compiled(rf"\s*{loosely(call_format.closing.strip())}"),
    )
