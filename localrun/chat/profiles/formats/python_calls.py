"""LFM2's tool-call format: a list of Python function calls.

<|tool_call_start|>[weather(city="Paris", days=3)]<|tool_call_end|>
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.chat.profiles.formats.format import Frame, Region
from localrun.chat.profiles.formats.notations import PYTHON
from localrun.chat.profiles.formats.pieces import CallParameter, Parameters, Pattern, Piece
from localrun.chat.profiles.formats.values import parse_expression, value_of_node
from localrun.chat.tool_calls import ToolCall

if TYPE_CHECKING:
    from localrun.chat.profiles.tools import Tool, Tools


@dataclass(frozen=True, slots=True)
class PythonCalls:
    """``opening`` [NAME(KEY=VALUE, ...), ...] ``closing``."""

    opening: str
    closing: str

    @property
    def region(self) -> Region:
        """The whole list between its tags."""
        return Region(openings=(self.opening,), closing=self.closing, has_strings=False)

    @property
    def frame(self) -> Frame:
        """The tags and brackets of the list."""
        return Frame(opening=f"{self.opening}[", separator=", ", closing=f"]{self.closing}")

    @property
    def head(self) -> None:
        """None: the arguments are not JSON."""
        return

    def pieces(self, tool: Tool) -> list[Piece]:
        """Return a function call with its keyword arguments in any order."""
        items = [
            CallParameter((f"{key}=", *PYTHON.value(schema)), tool.requires(key))
            for key, schema in tool.properties.items()
        ]
        return [f"{tool.name}(", Parameters(tuple(items), (Pattern(", ?"),)), ")"]

    def read(self, text: str, tools: Tools) -> list[ToolCall] | None:  # noqa: ARG002 - Python has types
        """Return the calls of the list, or None if it is malformed."""
        body = text.removeprefix(self.opening).removesuffix(self.closing).strip()
        try:
            tree = parse_expression(body)
            calls = tree.elts if isinstance(tree, ast.List) else [tree]
            return [_call(call) for call in calls] or None
        except (ValueError, RecursionError):  # of foreign text
            return None


def _call(node: ast.expr) -> ToolCall:
    if not isinstance(node, ast.Call) or node.args:
        raise ValueError("no call with named arguments")
    arguments = {str(word.arg): value_of_node(word.value) for word in node.keywords}
    return ToolCall(ast.unparse(node.func), arguments)
