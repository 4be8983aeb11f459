"""Tool-call formats of JSON objects with the tool's name in them.

<tool_call>
{"name": "weather", "arguments": {"city": "Paris"}}
</tool_call>

[TOOL_CALLS][{"name": "weather", "arguments": {"city": "Paris"}}]
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from localrun.chat.profiles.formats.format import Frame, Region
from localrun.chat.profiles.formats.notations import json_arguments
from localrun.chat.profiles.formats.pieces import Json, Maybe, Piece
from localrun.chat.profiles.formats.tag_patterns import compiled, filled, loosely
from localrun.chat.profiles.formats.values import read_json, read_json_at, skip_blanks
from localrun.chat.tool_calls import ToolCall

if TYPE_CHECKING:
    from localrun.chat.profiles.tools import Tool, Tools

# all of them are accepted in every family: models mix them up
_NAMES = ("name", "tool_name", "function")
_ARGUMENTS = ("arguments", "parameters", "args")
# a member beside name and arguments, such as an id, with its comma
_OTHER_MEMBER = r'(?:,?\s*"[^"\\]{1,64}"\s*:\s*"?[^"\\{}\[\],]{0,256}"?\s*,?)?'


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonCalls:
    """Objects with a name and arguments, one in a region or several in a list."""

    opening: str
    closing: str = ""
    header_end: str = ""
    name_key: str = "name"  # empty if the name itself is the key of the arguments
    arguments_key: str = "arguments"
    is_list: bool = False
    is_bare: bool = False
    ignored: frozenset[str] = frozenset()  # names that are no tool
    before_name: str = ""  # members that a template writes beside both, such as ids
    after_arguments: str = ""
    indent: str = ""  # before each object of a list
    is_indented: bool = False  # the objects are written over several lines
    is_shared: bool = False  # the tags are around all calls, which are not in a list

    @property
    def region(self) -> Region:
        """From the opening to the closing."""
        return Region(
            openings=(self.opening.strip(),),
            header_end=self.header_end.strip(),
            closing=self.closing.strip(),
            is_bare=self.is_bare,
        )

    @property
    def frame(self) -> Frame:
        """The text around a list or section; empty if each call has a region of its own."""
        if self.is_shared:
            start = self.opening + self.header_end
            return Frame(opening=start, separator="\n", closing=self.closing)
        if not self.is_list:
            return Frame()
        return Frame(
            opening=f"{self.opening}{self.header_end}[{self.indent}",
            separator=f",{self.indent or ' '}",
            closing=f"{self.indent[:1]}]{self.closing}",
        )

    @property
    def head(self) -> re.Pattern[str]:
        """The keys before the arguments."""
        return _head(self)

    def pieces(self, tool: Tool) -> list[Piece]:
        """Return a JSON object with its keys in the family's order."""
        name = json.dumps(tool.name)
        gap = "\n        " if self.is_indented else ""
        key, end = f"{name}: ", gap[:5] + "}"
        if self.name_key:
            key = f'{gap}"{self.name_key}": {name},{gap or " "}"{self.arguments_key}": '
        has_tags = not (self.is_list or self.is_shared)
        start = self.opening + self.header_end + "{" if has_tags and not self.is_bare else "{"
        end += self.closing if has_tags else ""
        lead, tail = _maybe(self.before_name), _maybe(self.after_arguments)
        whole = (Json(tool.parameters, is_indented=True),)
        arguments = whole if self.is_indented else json_arguments(tool)
        return [start, *lead, key, *arguments, *tail, end]

    def read(self, text: str, tools: Tools) -> list[ToolCall] | None:
        """Return the calls of a list, or of objects one after the other; None if malformed."""
        body = self._body(text)
        values: list[Any] = []
        start = 0
        try:
            while start < len(body):
                value, start = read_json_at(body, start)
                start = skip_blanks(body, start)
                start += body.startswith((",", ";"), start)
                values += value if isinstance(value, list) else [value]
        except ValueError:
            return None
        calls = [self._call(value) for value in values]
        valid = [call for call in calls if call is not None]
        if not valid or len(valid) < len(calls) or not self._are_calls(text, valid, tools):
            return None
        return [call for call in valid if call.name not in self.ignored]

    def _body(self, text: str) -> str:
        region = self.region
        for opening in region.openings:
            text = text.removeprefix(opening)
        if region.header_end and region.header_end in text:
            text = text.partition(region.header_end)[2]
        return text.rstrip().removesuffix(region.closing).strip()

    def _call(self, value: Any) -> ToolCall | None:  # noqa: ANN401 - any JSON value
        if not isinstance(value, dict):
            return None
        if not self.name_key:
            name, arguments = next(iter(value.items())) if len(value) == 1 else (None, None)
        else:
            if isinstance(value.get("function"), dict):  # the shape of OpenAI's API
                value = value["function"]
            name = _first(value, self.name_key, *_NAMES)
            arguments = _first(value, self.arguments_key, *_ARGUMENTS)
            arguments = {} if arguments is None else arguments
        if isinstance(arguments, str):
            arguments = _parsed(arguments)
        if not isinstance(name, str) or not isinstance(arguments, dict):
            return None
        return ToolCall(name, arguments)

    def _are_calls(self, text: str, calls: list[ToolCall], tools: Tools) -> bool:
        """Return whether objects without tags are calls: a JSON answer names no tool."""
        if not text.startswith("{"):
            return True
        return all(call.name in tools.by_name for call in calls)


def _maybe(tag: str) -> list[Piece]:
    return [Maybe(tuple(filled(tag)))] if tag else []


@lru_cache(64)
def _head(call_format: JsonCalls) -> re.Pattern[str]:
    tail = _OTHER_MEMBER if call_format.after_arguments else ""
    between = rf"(?:{loosely(call_format.opening.strip())}|\s*{tail}}}?\s*[,;]?)"
    if call_format.header_end.strip():
        between += rf"(?:[^{{}}]*?{re.escape(call_format.header_end.strip())})?"
    key = rf'"(?:{_either(call_format.name_key, *_NAMES)})"\s*:\s*' if call_format.name_key else ""
    before_arguments = r"\s*:\s*"
    if call_format.name_key:
        before_arguments = rf'\s*,\s*"(?:{_either(call_format.arguments_key, *_ARGUMENTS)})"\s*:\s*'
    name = r'"(?P<name>[^"\\]{1,256})"'
    lead = rf"(?:(?!{key}){_OTHER_MEMBER}\s*)?" if call_format.before_name else ""
    return compiled(rf"{between}\s*\[?\s*{{\s*{lead}{key}{name}{before_arguments}(?={{)")


def _either(*texts: str) -> str:
    return "|".join(map(re.escape, texts))


def _first(value: dict[str, Any], *keys: str) -> Any:  # noqa: ANN401 - any JSON value
    return next((value[key] for key in keys if key in value), None)


def _parsed(text: str) -> Any:  # noqa: ANN401 - any JSON value
    """Return the value of arguments that are JSON text, or None if it is malformed."""
    try:
        return read_json(text)
    except ValueError:
        return None
