"""Calls as Gemma 4 writes them: JSON with bare keys and with strings in a mark of its own.

<|tool_call>call:weather{city:<|"|>Paris<|"|>,days:3}<tool_call|>
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.chat.profiles.forms import Frame, FreeText, Json, Maybe, Piece, Region
from localrun.chat.profiles.marks import NAME
from localrun.chat.profiles.tools import read_json, types_of
from localrun.chat.tool_calls import ToolCall

if TYPE_CHECKING:
    from localrun.chat.profiles.tools import JsonObject, Tool, Tools

_QUOTE = '<|"|>'
_BARE_KEY = re.compile(r"([{,]\s*)([^\s:{},\[\]\"]+)\s*:")


@dataclass(frozen=True, slots=True)
class GemmaCalls:
    """The one form of Gemma 4."""

    opening: str = "<|tool_call>"
    closing: str = "<tool_call|>"

    @property
    def region(self) -> Region:
        """One call."""
        return Region(openings=(self.opening,), closing=self.closing, has_strings=False)

    @property
    def frame(self) -> Frame:
        """Nothing stands around the calls."""
        return Frame(separator="")

    @property
    def head(self) -> None:
        """Nothing: the arguments are not JSON."""
        return

    def pieces(self, tool: Tool) -> list[Piece]:
        """Return the name, then each parameter in the schema's order, the required ones first."""
        keys = sorted(tool.properties, key=lambda key: not tool.requires(key))
        pieces: list[Piece] = [f"{self.opening}call:{tool.name}{{"]
        is_first = True
        for key in keys:
            if tool.requires(key):
                pieces += self._parameter(key, tool.properties[key], "" if is_first else ",")
                is_first = False
            elif not is_first:  # without one before it, its comma would be in doubt
                pieces.append(Maybe(self._parameter(key, tool.properties[key], ",")))
        if is_first and keys:
            pieces.append(Maybe(self._parameter(keys[0], tool.properties[keys[0]], "")))
        return [*pieces, "}" + self.closing]

    def read(self, text: str, tools: Tools) -> list[ToolCall] | None:  # noqa: ARG002 - its values have types
        """Read one call."""
        body = text.removeprefix(self.opening).removesuffix(self.closing).strip()
        named = re.match(rf"call:{NAME}", body)
        if not named:
            return None
        try:
            arguments = read_json(_as_json(body[named.end() :]))
        except ValueError:
            return None
        return [ToolCall(named["name"], arguments)] if isinstance(arguments, dict) else None

    def _parameter(self, key: str, schema: JsonObject, comma: str) -> tuple[Piece, ...]:
        if types_of(schema) <= {"integer", "number", "boolean", "null"} and types_of(schema):
            return (f"{comma}{key}:", Json(schema))
        return (f"{comma}{key}:{_QUOTE}", FreeText(_QUOTE))


def _as_json(text: str) -> str:
    """Quote keys and strings as JSON does."""
    parts = text.split(_QUOTE)
    parts[::2] = [_BARE_KEY.sub(r'\1"\2":', part) for part in parts[::2]]
    parts[1::2] = [json.dumps(part) for part in parts[1::2]]
    return "".join(parts)
