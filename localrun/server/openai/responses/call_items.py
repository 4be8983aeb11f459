"""Output items of tool calls.

The arguments of a function are streamed. Calls of other tools are sent when their arguments are
complete, because their fields are inside the arguments.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from localrun.server.openai.responses.items import new_id
from localrun.server.openai.responses.output_items import IN_PROGRESS, added, done
from localrun.server.openai.responses.tools import INPUT, ToolKind
from localrun.server.reply_fields import new_call_id

if TYPE_CHECKING:
    from localrun.runner.messages import JsonObject
    from localrun.server.openai.responses.tools import ResponsesTool


class FunctionCall:
    """Call of a function; its arguments are streamed."""

    def __init__(self, tool: ResponsesTool) -> None:
        self._tool = tool
        self._id = new_id("function_call")
        self._call_id = new_call_id()
        self._pieces: list[str] = []
        self._status = IN_PROGRESS

    def begin(self) -> list[JsonObject]:
        """Return the first event."""
        return [added(self.item())]

    def push(self, text: str) -> list[JsonObject]:
        """Add a piece of the arguments; return its event."""
        self._pieces.append(text)
        return [self._event("delta", delta=text)]

    def end(self, status: str) -> list[JsonObject]:
        """Return the last events."""
        self._status = status
        fields = {"arguments": "".join(self._pieces), "name": self._tool.name}
        return [self._event("done", **fields), done(self.item())]

    def item(self) -> JsonObject:
        """Return the item as far as it is generated."""
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
    """Call of a custom or shell tool; sent when its arguments are complete."""

    def __init__(self, tool: ResponsesTool) -> None:
        self._tool = tool
        self._id = new_id(
            f"{tool.kind}_call" if tool.kind is ToolKind.SHELL else "custom_tool_call"
        )
        self._call_id = new_call_id()
        self._pieces: list[str] = []
        self._status = IN_PROGRESS

    def begin(self) -> list[JsonObject]:
        """Return []: nothing is known before the arguments are complete."""
        return []

    def push(self, text: str) -> list[JsonObject]:
        """Add a piece of the arguments."""
        self._pieces.append(text)
        return []

    def end(self, status: str) -> list[JsonObject]:
        """Return all events of the item."""
        first = added(self.item())
        self._status = status
        events: list[JsonObject] = []
        if self._tool.kind is ToolKind.CUSTOM:
            first["item"]["input"], text = "", self._input()
            kind = "response.custom_tool_call_input"
            events = [
                {"type": f"{kind}.delta", "item_id": self._id, "delta": text},
                {"type": f"{kind}.done", "item_id": self._id, "input": text},
            ]
        return [first, *events, done(self.item())]

    def item(self) -> JsonObject:
        """Return the item as far as it is generated."""
        item = {"id": self._id, "call_id": self._call_id, "status": self._status}
        if self._tool.kind is ToolKind.SHELL:
            return {"type": "local_shell_call", **item, "action": self._action()}
        namespace = {"namespace": self._tool.namespace} if self._tool.namespace else {}
        fields = {"name": self._tool.name, "input": self._input()}
        return {"type": "custom_tool_call", **item, **fields, **namespace}

    def _input(self) -> str:
        """Return the argument ``input``, or the raw arguments if they are cut off or malformed."""
        text = self._arguments().get(INPUT)
        return text if isinstance(text, str) else "".join(self._pieces)

    def _action(self) -> JsonObject:
        arguments = self._arguments()
        command = arguments.get("command")
        if isinstance(command, str):  # one line: not what the schema asks for
            command = ["bash", "-lc", command]
        return {
            "type": "exec",
            "command": list(map(str, command)) if isinstance(command, list) else [],
            "env": {},
            "timeout_ms": arguments.get("timeout_ms"),
            "working_directory": arguments.get("working_directory"),
            "user": None,
        }

    def _arguments(self) -> JsonObject:
        try:
            arguments = json.loads("".join(self._pieces))
        except (ValueError, RecursionError):
            return {}
        return arguments if isinstance(arguments, dict) else {}


def call_item(tool: ResponsesTool) -> FunctionCall | OtherCall:
    """Return the output item of a tool call."""
    return FunctionCall(tool) if tool.kind is ToolKind.FUNCTION else OtherCall(tool)
