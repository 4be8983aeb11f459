"""A Jinja environment in which a template can neither run for ever nor eat memory.

A template comes with a model and is untrusted. Jinja's sandbox keeps it away from
files and modules, but lets it loop, recurse and build texts without end. Here it
has a budget of time and of built text. The clock is looked at wherever work can
repeat (a step of a loop, a call, a filter), and what an operator, a filter or a
method builds is measured before it is built, since C does not look at a clock.
"""

from __future__ import annotations

import functools
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import markupsafe
from jinja2 import nodes
from jinja2.compiler import CodeGenerator
from jinja2.ext import loopcontrols
from jinja2.filters import make_attrgetter
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from localrun.chat import sizes
from localrun.chat.sizes import MAX_SIZE, size_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from jinja2.compiler import Frame
    from jinja2.runtime import Context

MAX_SOURCE_CHARS = 512 * 1024  # the longest in use are some 20 KB
# what no chat template needs and what takes more than linear time
UNBOUNDED_FILTERS = ("pprint", "random", "striptags", "urlize", "wordwrap", "xmlattr")

UNBOUNDED_GLOBALS = ("cycler", "joiner", "lipsum")
UNBOUNDED_METHODS = frozenset({"encode", "fromkeys", "maketrans", "to_bytes", "translate"})


@dataclass(frozen=True, slots=True)
class RenderLimits:
    """What one rendering may use."""

    seconds: float = 10.0
    built: int = 512 * 1024 * 1024  # of all that it ever builds, in the unit of sizes.py


class TemplateStoppedError(Exception):
    """The template used up what it may use."""


class _BoundedGenerator(CodeGenerator):
    """Lead loops, ``~``, ``in``, and what writes lists and parts through the environment."""

    def visit_For(self, node: nodes.For, frame: Frame) -> None:  # noqa: N802 - Jinja's names
        steps = nodes.EnvironmentAttribute("steps", lineno=node.lineno)
        node.iter = nodes.Call(steps, [node.iter], [], None, None, lineno=node.lineno)
        node.iter.set_environment(self.environment)
        super().visit_For(node, frame)

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:  # noqa: N802
        self.write("environment.text(")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write(")")

    def visit_Compare(self, node: nodes.Compare, frame: Frame) -> None:  # noqa: N802
        is_search = any(operand.op in {"in", "notin"} for operand in node.ops)
        self.write("(environment.tick() and " if is_search else "(")
        super().visit_Compare(node, frame)
        self.write(")")

    def visit_List(self, node: nodes.List, frame: Frame) -> None:  # noqa: N802
        self._measure(super().visit_List, node, frame)

    def visit_Dict(self, node: nodes.Dict, frame: Frame) -> None:  # noqa: N802
        self._measure(super().visit_Dict, node, frame)

    def visit_Tuple(self, node: nodes.Tuple, frame: Frame) -> None:  # noqa: N802
        if node.ctx == "load":
            self._measure(super().visit_Tuple, node, frame)
        else:
            super().visit_Tuple(node, frame)

    def visit_Getitem(self, node: nodes.Getitem, frame: Frame) -> None:  # noqa: N802
        if isinstance(node.arg, nodes.Slice):
            self._measure(super().visit_Getitem, node, frame)
        else:
            super().visit_Getitem(node, frame)

    def visit_EvalContextModifier(self, node: nodes.EvalContextModifier, frame: Frame) -> None:  # noqa: ARG002, N802
        self.fail("autoescape is of no use in a chat template", node.lineno)

    def visit_ScopedEvalContextModifier(  # noqa: N802
        self, node: nodes.ScopedEvalContextModifier, frame: Frame
    ) -> None:
        self.visit_EvalContextModifier(node, frame)

    def _measure(self, visit: Callable[[Any, Frame], None], node: nodes.Expr, frame: Frame) -> None:
        self.write("environment.built(")
        visit(node, frame)
        self.write(")")


class _Spent(threading.local):
    deadline = float("inf")
    left = MAX_SIZE


class _Namespace(Namespace):
    def __repr__(self) -> str:
        return "<namespace>"  # what it holds is not measured


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """Jinja's sandbox with a budget; rendering happens inside of ``budget``."""

    code_generator_class = _BoundedGenerator
    intercepted_binops = frozenset({"*", "**", "+", "%"})

    def __init__(self, limits: RenderLimits) -> None:
        super().__init__(
            trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols], finalize=self.printable
        )
        self._limits = limits
        self._spent = _Spent()
        self.concat = self._joined  # type: ignore[method-assign]  # what compiled templates join with
        for name in UNBOUNDED_GLOBALS:
            del self.globals[name]
        self.globals["namespace"] = _Namespace
        for name in UNBOUNDED_FILTERS:
            del self.filters[name]
        self.filters |= {"join": self._join, "safe": str}
        self.filters |= dict.fromkeys(("e", "escape", "forceescape"), _escaped)

    def measure_filters(self) -> None:
        """Measure what every filter builds; called when all filters are there."""
        for name, function in self.filters.items():
            self.filters[name] = self._measured(name, function)

    @contextmanager
    def budget(self) -> Iterator[None]:
        """Give the rendering of this thread its time and space."""
        spent = self._spent
        spent.deadline = time.monotonic() + self._limits.seconds
        spent.left = self._limits.built
        try:
            yield
        finally:
            spent.deadline, spent.left = float("inf"), self._limits.built

    def charge(self, size: int) -> None:
        """Count what is about to be built.

        Raises:
            TemplateStoppedError: it is too much, or the time is over.
        """
        spent = self._spent
        spent.left -= size
        if size > MAX_SIZE or spent.left < 0:
            raise TemplateStoppedError("it builds too much text")
        if time.monotonic() > spent.deadline:
            raise TemplateStoppedError(f"it ran for more than {self._limits.seconds:g} s")

    def steps(self, items: Iterable[Any]) -> Iterator[Any]:
        """Go over the items of a loop and look at the clock at each."""
        spent, clock = self._spent, time.monotonic
        for item in items:
            if clock() > spent.deadline:
                self.charge(0)
            yield item

    def tick(self) -> bool:
        """Look at the clock; always true, for it stands inside of expressions."""
        self.charge(0)
        return True

    def built(self, value: Any) -> Any:  # noqa: ANN401 - any value of a template
        """Measure a list, map or part that is there now: it may hold one value many times."""
        self.charge(size_of(value))
        return value

    def printable(self, value: Any) -> Any:  # noqa: ANN401
        """Measure what is about to become text."""
        if not isinstance(value, str):
            self.charge(size_of(value))
        return value

    def text(self, *parts: Any) -> str:  # noqa: ANN401
        """Join what ``~`` joins."""
        return self._joined([str(self.printable(part)) for part in parts])

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:  # noqa: ANN401
        """Measure the result of an operator before it is built."""
        self.charge(sizes.of_operation(operator, left, right))
        return super().call_binop(context, operator, left, right)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:  # noqa: ANN401
        """Refuse methods whose results are not measured, besides what Jinja refuses."""
        return attr not in UNBOUNDED_METHODS and super().is_safe_attribute(obj, attr, value)

    def call(self, context: Context, function: Any, /, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        """Call a function; measure the result of a text's method before it is built."""
        owner = getattr(function, "__self__", None)
        if isinstance(owner, str):
            if function.__name__ == "join":
                return self._join(args[0] if args else (), owner)
            self.charge(sizes.of_method(owner, function.__name__, [*args, *kwargs.values()]))
        elif function is dict:
            self.charge(size_of(kwargs) + size_of(args))
        result = super().call(context, function, *args, **kwargs)
        self.charge(len(result) if isinstance(result, str) else 0)
        return result

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:  # noqa: ANN401
        """Refuse fields whose width is a bomb; the rest is Jinja's own sandbox."""
        wrapped = super().wrap_str_format(value)
        if wrapped is None:
            return None

        @functools.wraps(wrapped)
        def measured(*args: Any, **kwargs: Any) -> str:  # noqa: ANN401
            self.charge(sizes.of_format(value.__self__, (args, kwargs)))
            return wrapped(*args, **kwargs)

        return measured

    def _measured(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        num_passed = 1 if hasattr(function, "jinja_pass_arg") else 0

        @functools.wraps(function)
        def measured(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            value, *others = args[num_passed:] or (None,)
            self.charge(sizes.of_filter(name, value, [*others, *kwargs.values()]))
            result = function(*args, **kwargs)
            if isinstance(result, str):
                self.charge(len(result))
            return result

        return measured

    def _join(self, items: Iterable[Any], d: str = "", attribute: str | None = None) -> str:
        """Jinja's filter of this name, and the method of a text."""
        found = items if attribute is None else map(make_attrgetter(self, attribute), items)
        parts: list[str] = []
        for item in self.steps(found):
            parts += (str(d), str(self.printable(item)))
        return self._joined(parts[1:])

    def _joined(self, parts: Iterable[str]) -> str:
        """Join texts, counting before they are one."""
        kept, size = [], 0
        for part in parts:
            size += len(part)
            if size > MAX_SIZE:
                break
            kept.append(part)
        self.charge(size)
        return "".join(kept)


def _escaped(value: Any) -> str:  # noqa: ANN401
    return str(markupsafe.escape(str(value)))
