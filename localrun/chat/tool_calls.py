"""Calls of tools: whole, and as they come."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A whole call of a tool, as a family's form reads it."""

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class CallBegun:
    """A call of a tool begins; its arguments follow."""

    name: str


@dataclass(frozen=True, slots=True)
class CallArguments:
    """A piece of the JSON object that the last call begun has for arguments.

    A call whose last piece never comes was broken off: its arguments are no JSON.
    """

    text: str
    is_last: bool


CallPart = CallBegun | CallArguments


class CallCollector:
    """Puts calls together from their parts."""

    def __init__(self) -> None:
        self._name = ""
        self._pieces: list[str] = []

    def add(self, part: object) -> ToolCall | None:
        """Take a part of a reply; return the call that it completes."""
        if isinstance(part, CallBegun):
            self._name, self._pieces = part.name, []
        elif isinstance(part, CallArguments):
            self._pieces.append(part.text)
            if part.is_last:
                return _whole(self._name, "".join(self._pieces))
        return None


def calls_of(parts: Iterable[object]) -> list[ToolCall]:
    """Return the whole calls among the parts of a reply; what was broken off is none."""
    collector = CallCollector()
    return [call for part in parts if (call := collector.add(part)) is not None]


def told(call: ToolCall) -> list[CallPart]:
    """Return the parts that tell a whole call."""
    arguments = json.dumps(call.arguments, ensure_ascii=False)
    return [CallBegun(call.name), CallArguments(arguments, is_last=True)]


def _whole(name: str, arguments: str) -> ToolCall | None:
    try:
        value = json.loads(arguments)
    except (ValueError, RecursionError):
        return None
    return ToolCall(name, value)
