"""Gemma 4's tool-call format: JSON with bare keys and with strings between marks.

<|tool_call>call:weather{city:<|"|>Paris<|"|>,days:3}<tool_call|>
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.chat.profiles.formats.format import Frame, Region
from localrun.chat.profiles.formats.notations import GEMMA, GEMMA_QUOTE
from localrun.chat.profiles.formats.pieces import CallParameter, Parameters, Pattern, Piece
from localrun.chat.profiles.formats.tag_patterns import NAME
from localrun.chat.profiles.formats.values import PYTHON_WORDS, read_json
from localrun.chat.tool_calls import ToolCall

if TYPE_CHECKING:
    from localrun.chat.profiles.tools import Tool, Tools

# a constant as Python prints it: templates do, and models imitate them
_PRINTED = re.compile(r"(?<=[:,\[])\s*(?:None|True|False)(?=\s*[,}\]])")
_BARE_KEY = re.compile(r"([{,]\s*)([^\s:{},\[\]\"]+)\s*:")


@dataclass(frozen=True, slots=True)
class GemmaCalls:
    """The format of Gemma 4."""

    opening: str = "<|tool_call>"
    closing: str = "<tool_call|>"

    @property
    def region(self) -> Region:
        """One call between its tags."""
        return Region(openings=(self.opening,), closing=self.closing, has_strings=False)

    @property
    def frame(self) -> Frame:
        """No text around the calls."""
        return Frame(separator="")

    @property
    def head(self) -> None:
        """None: the arguments are not JSON."""
        return

    def pieces(self, tool: Tool) -> list[Piece]:
        """Return the name and the parameters in any order: templates sort them."""
        items = [
            CallParameter((f"{key}:", *GEMMA.value(schema)), tool.requires(key))
            for key, schema in tool.properties.items()
        ]
        parameters = Parameters(tuple(items), (Pattern(", ?"),))
        return [f"{self.opening}call:{tool.name}{{", parameters, "}" + self.closing]

    def read(self, text: str, tools: Tools) -> list[ToolCall] | None:  # noqa: ARG002 - its values have types
        """Return the one call of a region, or None if it is malformed."""
        body = text.removeprefix(self.opening).removesuffix(self.closing).strip()
        named = re.match(rf"call:{NAME}", body)
        if not named:
            return None
        try:
            arguments = read_json(_as_json(body[named.end() :]))
        except ValueError:
            return None
        return [ToolCall(named["name"], arguments)] if isinstance(arguments, dict) else None


def _as_json(text: str) -> str:
    """Return the text with its keys and strings quoted as JSON."""
    parts = text.split(GEMMA_QUOTE)
    parts[::2] = [_PRINTED.sub(_in_json, _BARE_KEY.sub(r'\1"\2":', part)) for part in parts[::2]]
    parts[1::2] = [json.dumps(part) for part in parts[1::2]]
    return "".join(parts)


def _in_json(word: re.Match[str]) -> str:
    return PYTHON_WORDS[word[0].strip()]
