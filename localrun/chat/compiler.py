"""Parsing and compilation of templates under a budget.

Extensions of Jinja's parser and a code generator that routes every operation whose result can
grow, and every loop, through the methods of `BoundedEnvironment` (``sandbox.py``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jinja2 import nodes
from jinja2.compiler import CodeGenerator
from jinja2.ext import Extension

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jinja2.compiler import Frame
    from jinja2.lexer import Token, TokenStream
    from jinja2.parser import Parser

_TEXTS = (nodes.Concat, nodes.TemplateData)


class GenerationTag(Extension):
    """The tag ``{% generation %}``, which is for training only: it renders as its content."""

    tags = {"generation"}  # noqa: RUF012 - as the base class declares it

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """Return the statements inside the tag."""
        next(parser.stream)
        return list(parser.parse_statements(("name:endgeneration",), drop_needle=True))


class MeteredParsing(Extension):
    """Check of the time limit at each token while a template is parsed."""

    def filter_stream(self, stream: TokenStream) -> Iterator[Token]:
        """Return the tokens as budgeted steps of the environment."""
        steps: Iterator[Token] = self.environment.steps(stream)  # type: ignore[attr-defined]  # a `BoundedEnvironment`
        return steps


class BoundedGenerator(CodeGenerator):
    """Jinja's code generator, with calls of `BoundedEnvironment` around some nodes."""

    _iterable: nodes.Node | None = None

    def visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        """Write the code of a node; the iterable of a loop becomes budgeted steps."""
        self.environment.tick()  # type: ignore[attr-defined]  # a `BoundedEnvironment`
        if node is not self._iterable:
            return super().visit(node, *args, **kwargs)
        self._iterable = None
        self.write("environment.steps(")
        super().visit(node, *args, **kwargs)
        self.write(")")
        return None

    def visit_For(self, node: nodes.For, frame: Frame) -> None:
        outer, self._iterable = self._iterable, node.iter
        super().visit_For(node, frame)
        self._iterable = outer

    def visit_Add(self, node: nodes.BinExpr, frame: Frame) -> None:
        self.write("environment.added(")
        self.visit(node.left, frame)
        self.write(", ")
        self.visit(node.right, frame)
        self.write(")")

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:
        self.write("environment.text(")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write(")")

    def visit_Compare(self, node: nodes.Compare, frame: Frame) -> None:
        is_search = any(operand.op in {"in", "notin"} for operand in node.ops)
        self.write("(environment.tick() and " if is_search else "(")
        super().visit_Compare(node, frame)
        self.write(")")

    def visit_List(self, node: nodes.List, frame: Frame) -> None:
        self.write("environment.own(")
        super().visit_List(node, frame)
        self.write(")")

    def visit_Const(self, node: nodes.Const, frame: Frame) -> None:
        """Write a constant; a list of constants is a new list each time."""
        is_list = isinstance(node.value, list)
        self.write("environment.own(" if is_list else "")
        super().visit_Const(node, frame)
        self.write(")" if is_list else "")

    def visit_Dict(self, node: nodes.Dict, frame: Frame) -> None:
        self._measured(super().visit_Dict, node, frame)

    def visit_Tuple(self, node: nodes.Tuple, frame: Frame) -> None:
        if node.ctx == "load":
            self._measured(super().visit_Tuple, node, frame)
        else:
            super().visit_Tuple(node, frame)

    def visit_Getitem(self, node: nodes.Getitem, frame: Frame) -> None:
        if isinstance(node.arg, nodes.Slice):
            self.write("environment.part(")
            super().visit_Getitem(node, frame)
            self.write(")")
        else:
            super().visit_Getitem(node, frame)

    def visit_EvalContextModifier(self, node: nodes.EvalContextModifier, frame: Frame) -> None:  # noqa: ARG002
        self.fail("autoescape is of no use in a chat template", node.lineno)

    def visit_ScopedEvalContextModifier(
        self, node: nodes.ScopedEvalContextModifier, frame: Frame
    ) -> None:
        self.visit_EvalContextModifier(node, frame)

    def _output_child_pre(self, node: nodes.Expr, frame: Frame, finalize: Any) -> None:  # noqa: ANN401, ARG002
        self.write("(" if isinstance(node, _TEXTS) else "environment.printed(")

    def _output_child_post(self, node: nodes.Expr, frame: Frame, finalize: Any) -> None:  # noqa: ANN401, ARG002
        self.write(")")

    def _measured(
        self, visit: Callable[[Any, Frame], None], node: nodes.Expr, frame: Frame
    ) -> None:
        self.write("environment.built(")
        visit(node, frame)
        self.write(")")
