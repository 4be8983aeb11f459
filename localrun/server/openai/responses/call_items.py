"""A call of a tool while it comes.

The arguments of a function stream; those of other tools are told when they are complete,
since what the client is to get of them is inside.
"""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING

from localrun.server.openai.responses.blocks import IN_PROGRESS, added, done
from localrun.server.openai.responses.items import new_id
from localrun.server.openai.responses.tools import INPUT, ToolKind

if TYPE_CHECKING:
    from localrun.server.openai.responses.tools import ResponsesTool
    from localrun.server.parsing.fields import JsonObject


class FunctionCall:
    """A call whose arguments are told while they come."""

    def __init__(self, tool: ResponsesTool) -> None:
        self._tool = tool
        self._id = new_id("function_call")
        self._call_id = new_call_id()
        self._pieces: list[str] = []
        self._status = IN_PROGRESS

    def begin(self) -> list[JsonObject]:
        """Return the event that opens it."""
        return [added(self.item())]

    def push(self, text: str) -> list[JsonObject]:
        """Take a piece of the arguments; return the event that tells it."""
        self._pieces.append(text)
        return [self._event("delta", delta=text)]

    def end(self, status: str) -> list[JsonObject]:
        """Return the events that close it."""
        self._status = status
        told = {"arguments": "".join(self._pieces), "name": self._tool.name}
        return [self._event("done", **told), done(self.item())]

    def item(self) -> JsonObject:
        """Return the item as far as it is known."""
        item = {
            "type": "function_call",
            "id": self._id,
            "call_id": self._call_id,
            "name": self._tool.name,
            "arguments": "".join(self._pieces),
            "status": self._status,
        }
        return item | {"namespace": self._tool.namespace} if self._tool.namespace else item

    def _event(self, kind: str, **fields: object) -> JsonObject:
        kind = f"response.function_call_arguments.{kind}"
        return {"type": kind, "item_id": self._id, **fields}


class OtherCall:
    """A call of a tool that is no function: told when its arguments are complete."""

    def __init__(self, tool: ResponsesTool) -> None:
        self._tool = tool
        self._id = new_id(
            f"{tool.kind}_call" if tool.kind is ToolKind.SHELL else "custom_tool_call"
        )
        self._call_id = new_call_id()
        self._pieces: list[str] = []
        self._status = IN_PROGRESS

    def begin(self) -> list[JsonObject]:
        """Return nothing: a command that is not known yet cannot be told."""
        return []

    def push(self, text: str) -> list[JsonObject]:
        """Take a piece of the arguments."""
        self._pieces.append(text)
        return []

    def end(self, status: str) -> list[JsonObject]:
        """Return all events."""
        first = added(self.item())
        self._status = status
        said: list[JsonObject] = []
        if self._tool.kind is ToolKind.CUSTOM:
            first["item"]["input"], text = "", self._input()
            kind = "response.custom_tool_call_input"
            said = [
                {"type": f"{kind}.delta", "item_id": self._id, "delta": text},
                {"type": f"{kind}.done", "item_id": self._id, "input": text},
            ]
        return [first, *said, done(self.item())]

    def item(self) -> JsonObject:
        """Return the item as far as it is known."""
        item = {"id": self._id, "call_id": self._call_id, "status": self._status}
        if self._tool.kind is ToolKind.SHELL:
            return {"type": "local_shell_call", **item, "action": self._action()}
        namespace = {"namespace": self._tool.namespace} if self._tool.namespace else {}
        told = {"name": self._tool.name, "input": self._input()}
        return {"type": "custom_tool_call", **item, **told, **namespace}

    def _input(self) -> str:
        """Return the one argument; what is broken off, or another thing, as it was written."""
        found = self._arguments().get(INPUT)
        return found if isinstance(found, str) else "".join(self._pieces)

    def _action(self) -> JsonObject:
        given = self._arguments()
        command = given.get("command")
        if isinstance(command, str):  # a line, against the schema
            command = ["bash", "-lc", command]
        return {
            "type": "exec",
            "command": list(map(str, command)) if isinstance(command, list) else [],
            "env": {},
            "timeout_ms": given.get("timeout_ms"),
            "working_directory": given.get("working_directory"),
            "user": None,
        }

    def _arguments(self) -> JsonObject:
        try:
            found = json.loads("".join(self._pieces))
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}


def call_block(tool: ResponsesTool) -> FunctionCall | OtherCall:
    """Return the block of a call."""
    return FunctionCall(tool) if tool.kind is ToolKind.FUNCTION else OtherCall(tool)


def new_call_id() -> str:
    """Return an id by which the result names its call."""
    return f"call_{secrets.token_hex(12)}"
