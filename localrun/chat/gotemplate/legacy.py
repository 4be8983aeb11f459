"""Templates of Ollama's older form: one turn of ``.System``, ``.Prompt`` and ``.Response``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from localrun.chat.gotemplate.tree import (
    Action,
    Chain,
    Command,
    FieldAccess,
    If,
    Pipe,
    Range,
    With,
)

if TYPE_CHECKING:
    from localrun.chat.gotemplate.tree import Node

_FIELD = FieldAccess(("Response",))
RESPONSE = Action(Pipe((Command((_FIELD,)),), (), is_declaration=False))


def until_response(nodes: tuple[Node, ...]) -> tuple[Node, ...]:
    """Return the nodes through the first one that prints ``.Response``.

    Branches are cut as well: nodes behind it in the source are dropped.
    """
    return _Cutter().cut(nodes)


class _Cutter:
    def __init__(self) -> None:
        self._is_done = False

    def cut(self, nodes: tuple[Node, ...]) -> tuple[Node, ...]:
        kept: list[Node] = []
        for node in nodes:
            if self._is_done:
                break
            kept.append(self._node(node))
        return tuple(kept)

    def _node(self, node: Node) -> Node:
        if isinstance(node, If | With | Range):
            return replace(node, body=self.cut(node.body), orelse=self.cut(node.orelse))
        if isinstance(node, Action) and _has_response(node.pipe):
            self._is_done = True
        return node


def _has_response(pipe: Pipe) -> bool:
    operands = (operand for command in pipe.commands for operand in command.operands)
    return any(
        (isinstance(operand, FieldAccess) and "Response" in operand.names)
        or (isinstance(operand, Chain) and _has_response(operand.pipe))
        for operand in operands
    )
