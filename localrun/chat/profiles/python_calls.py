"""Calls as LFM2 writes them: a list of calls of Python functions.

<|tool_call_start|>[weather(city="Paris", days=3)]<|tool_call_end|>
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from localrun.chat.profiles.forms import Frame, Json, Maybe, Piece, Region
from localrun.chat.tool_calls import ToolCall

if TYPE_CHECKING:
    from localrun.chat.profiles.tools import Tool, Tools

MAX_CHARS = 256 * 1024  # Python's parser takes some hundred bytes for each
_WORDS = {"true": True, "false": False, "null": None}


@dataclass(frozen=True, slots=True)
class PythonCalls:
    """``opening`` [NAME(KEY=VALUE, ...), ...] ``closing``."""

    opening: str
    closing: str

    @property
    def region(self) -> Region:
        """The whole list."""
        return Region(openings=(self.opening,), closing=self.closing, has_strings=False)

    @property
    def frame(self) -> Frame:
        """The list's brackets."""
        return Frame(opening=f"{self.opening}[", separator=", ", closing=f"]{self.closing}")

    @property
    def head(self) -> None:
        """Nothing: the arguments are not JSON."""
        return

    def pieces(self, tool: Tool) -> list[Piece]:
        """Return a call with its required parameters first, in the schema's order."""
        pieces: list[Piece] = [f"{tool.name}("]
        comma = ""
        for key, schema in tool.properties.items():
            if tool.requires(key):
                pieces += (f"{comma}{key}=", Json(schema))
                comma = ", "
        for key, schema in tool.properties.items():
            if comma and not tool.requires(key):
                pieces.append(Maybe((f"{comma}{key}=", Json(schema))))
        return [*pieces, ")"]

    def read(self, text: str, tools: Tools) -> list[ToolCall] | None:  # noqa: ARG002 - Python has types
        """Read the list."""
        body = text.removeprefix(self.opening).removesuffix(self.closing).strip()
        if len(body) > MAX_CHARS:
            return None
        try:
            tree = ast.parse(body, mode="eval").body
            calls = tree.elts if isinstance(tree, ast.List) else [tree]
            return [_call(call) for call in calls] or None
        except (SyntaxError, ValueError, RecursionError, MemoryError):  # of foreign text
            return None


def _call(node: ast.expr) -> ToolCall:
    if not isinstance(node, ast.Call) or node.args:
        raise ValueError("no call with named arguments")
    arguments = {str(word.arg): _value(word.value) for word in node.keywords}
    return ToolCall(ast.unparse(node.func), arguments)


def _value(node: ast.expr) -> Any:  # noqa: ANN401 - any JSON value
    """Return the value of a literal of Python or of JSON."""
    match node:
        case ast.Name(id=name) if name in _WORDS:
            return _WORDS[name]
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return [_value(item) for item in items]
        case ast.Dict(keys=keys, values=values) if all(keys):
            return {
                str(ast.literal_eval(key)): _value(value)
                for key, value in zip(keys, values, strict=True)
                if key is not None
            }
    value = ast.literal_eval(node)
    if not isinstance(value, str | int | float | bool | None):
        raise ValueError("no value of JSON")  # noqa: TRY004 - caught with the others
    return value
