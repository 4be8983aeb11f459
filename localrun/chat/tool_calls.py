"""Tool calls of a reply: complete, and as streamed parts.

A streamed call is one `CallBegun`, then `CallArguments` whose texts join to a JSON object. The
last of them has ``is_last``; without it the call was cut off and does not count.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A complete call of a tool."""

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class CallBegun:
    """The start of a tool call; its arguments follow."""

    name: str


@dataclass(frozen=True, slots=True)
class CallArguments:
    """A piece of the arguments of the last call begun, as JSON text."""

    text: str
    is_last: bool


CallPart = CallBegun | CallArguments


class CallCollector:
    """Assembles complete calls from streamed parts."""

    def __init__(self) -> None:
        self._name = ""
        self._pieces: list[str] = []

    def add(self, part: object) -> ToolCall | None:
        """Add a part of a reply; return the call that it completes, if any."""
        if isinstance(part, CallBegun):
            self._name, self._pieces = part.name, []
        elif isinstance(part, CallArguments):
            self._pieces.append(part.text)
            if part.is_last:
                return _call_of(self._name, "".join(self._pieces))
        return None


def calls_of(parts: Iterable[object]) -> list[ToolCall]:
    """Return the complete calls among the parts of a reply."""
    collector = CallCollector()
    return [call for part in parts if (call := collector.add(part)) is not None]


def parts_of(call: ToolCall) -> list[CallPart]:
    """Return the streamed parts of a complete call."""
    arguments = json.dumps(call.arguments, ensure_ascii=False)
    return [CallBegun(call.name), CallArguments(arguments, is_last=True)]


def _call_of(name: str, arguments: str) -> ToolCall | None:
    try:
        value = json.loads(arguments)
    except (ValueError, RecursionError):
        return None
    return ToolCall(name, value)
