"""Tools of one chat: their definitions for the model, their calls, and what they return.

A tool takes a JSON object of arguments and returns a text for the model. Knows no terminal.
Invariant: a call returns a `ToolResult`, also if the tool fails; only KeyboardInterrupt and bugs
are raised.
"""

from __future__ import annotations

import contextlib
import difflib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

Arguments = Mapping[str, Any]
Cancellation = threading.Event  # set: the call ends as soon as possible
LONGEST_NAME = 64  # characters, the limit of most APIs
MAX_NAMES_IN_ERROR = 20


class Effect(StrEnum):
    """What a call can change, which decides who must be asked."""

    READ = "read"  # nothing; it reads below the folder at most
    EDIT = "edit"  # files below the folder
    COMMAND = "command"  # anything that the user can change
    FOREIGN = "foreign"  # unknown: a tool of an MCP server


class ToolError(Exception):
    """A call failed; the message is for the model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """Result of a call: ``text`` for the model, ``summary`` and ``diff`` for the user."""

    text: str
    is_error: bool = False
    summary: str = ""  # one line; "" if the text needs none
    diff: str | None = None  # unified diff of an edit


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentTool:
    """A tool: what the model is told of it, and the function that executes a call."""

    name: str
    description: str
    parameters: dict[str, Any]  # JSON Schema of the arguments
    effect: Effect
    execute: Callable[[Arguments, Cancellation], ToolResult]
    preview: Callable[[Arguments], str] | None = None  # unified diff, before the edit
    origin: str = ""  # name of the MCP server

    def definition(self) -> dict[str, Any]:
        """Return the tool as an item of the field ``tools`` of a request."""
        function = {
            "name": self.name,
            "description": self.description,
            "parameters": self.parameters,
        }
        return {"type": "function", "function": function}


@dataclass(slots=True)
class Toolbox:
    """The tools of one chat; `close` ends what they have started."""

    tools: Sequence[AgentTool]
    closers: Sequence[Callable[[], None]] = field(default_factory=tuple)
    undo_edit: Callable[[], str | None] = lambda: None

    def definitions(self) -> list[dict[str, Any]]:
        """Return the field ``tools`` of a request."""
        return [tool.definition() for tool in self.tools]

    def find(self, name: str) -> AgentTool | None:
        """Return the tool of a name, None if there is none."""
        return next((tool for tool in self.tools if tool.name == name), None)

    def call(self, name: str, arguments: Arguments, cancel: Cancellation) -> ToolResult:
        """Execute a call; blocks until it has ended or ``cancel`` is set.

        KeyboardInterrupt passes through, after what the call started has ended.
        """
        tool = self.find(name)
        if tool is None:
            return ToolResult(text=self.unknown(name), is_error=True)
        try:
            return tool.execute(arguments, cancel)
        except ToolError as error:
            return ToolResult(text=str(error), is_error=True)

    def preview(self, name: str, arguments: Arguments) -> str | None:
        """Return the unified diff of an edit before it is done, None for other tools.

        Raises:
            ToolError: the edit is not possible.
        """
        tool = self.find(name)
        return tool.preview(arguments) if tool is not None and tool.preview is not None else None

    def unknown(self, name: str) -> str:
        """Return the message for the model that called a tool that does not exist."""
        names = [tool.name for tool in self.tools]
        near = difflib.get_close_matches(name[:LONGEST_NAME], names, n=1)
        listed = ", ".join(names[:MAX_NAMES_IN_ERROR]) or "none"
        hint = f"Did you mean {near[0]}? " if near else ""
        return f"There is no tool {name[:LONGEST_NAME]!r}. {hint}Tools: {listed}."

    def undo(self) -> str | None:
        """Undo the last edit; return a sentence about it, None if there is no edit.

        Raises:
            ToolError: the file has changed since the edit.
        """
        return self.undo_edit()

    def close(self) -> None:
        """End the servers and processes of all tools."""
        with contextlib.ExitStack() as stack:  # each is called, also if another fails
            for close in self.closers:
                stack.callback(close)
