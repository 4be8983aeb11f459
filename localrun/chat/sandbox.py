"""Jinja environment with bounded time and memory, for untrusted templates.

A template comes with a model and is untrusted. Jinja's sandbox denies it files and modules, but
not endless loops, recursion and texts. This environment charges a `Budget` of time and of built
text. Time is checked wherever work can repeat (a step of a loop, a macro, a filter). Results of
operators, filters and methods are measured before they are built, since C code checks no clock.
Small results are not counted, which keeps honest templates fast.
"""

from __future__ import annotations

import functools
from types import BuiltinMethodType, GeneratorType
from typing import TYPE_CHECKING, Any

import markupsafe
from jinja2.exceptions import TemplateSyntaxError
from jinja2.ext import loopcontrols
from jinja2.filters import make_attrgetter
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from localrun.chat import sizes
from localrun.chat.compiler import BoundedGenerator, GenerationTag, MeteredParsing
from localrun.chat.mutable import METHODS, MutableList, fix
from localrun.chat.sizes import MAX_SIZE, SLOT, SMALL, size_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import CodeType

    from jinja2.runtime import Context

    from localrun.chat.budget import Budget

MAX_CODE_CHARS = 768 * 1024  # of Python: a template of 20 KB comes to some 300
# not needed by chat templates, and slower than linear time
UNBOUNDED_FILTERS = ("pprint", "random", "striptags", "urlize", "wordwrap", "xmlattr")
UNBOUNDED_GLOBALS = ("cycler", "joiner", "lipsum")
UNBOUNDED_METHODS = frozenset({"encode", "fromkeys", "maketrans", "to_bytes", "translate"})
# filters of constant time
CONSTANT_FILTERS = frozenset({"count", "d", "default", "first", "last", "length"})
_OF_MAPS = frozenset(dir(dict))
_OF_TEXTS = (
    frozenset(name for name in dir(str) if not name.startswith("_"))
    - UNBOUNDED_METHODS
    - {"format", "format_map"}
)
_SCALARS = frozenset({int, float, bool, type(None)})


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """Jinja's sandbox with a budget of time and built text."""

    code_generator_class = BoundedGenerator
    intercepted_binops = frozenset({"*", "**", "%", "//", "/", "-"})

    def __init__(self, budget: Budget) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[loopcontrols, GenerationTag, MeteredParsing],
        )
        self.charge, self.tick, self.steps = budget.charge, budget.tick, budget.steps
        self._trusted: frozenset[object] = frozenset()
        self.concat = self._joined  # type: ignore[method-assign]  # called by compiled templates
        for name in UNBOUNDED_GLOBALS:
            del self.globals[name]
        self.globals["namespace"] = _Namespace
        for name in UNBOUNDED_FILTERS:
            del self.filters[name]
        self.filters |= {"join": self._join, "safe": str}
        self.filters |= dict.fromkeys(("e", "escape", "forceescape"), _escaped)
        for name, function in self.filters.items():
            self.add_filter(name, function)

    def _compile(self, source: str, filename: str) -> CodeType:
        """Compile the generated Python; the length is bounded because compiling holds the GIL."""
        if len(source) > MAX_CODE_CHARS:
            raise TemplateSyntaxError("it is too large to be compiled", 1)
        return super()._compile(source, filename)

    def add_filter(self, name: str, function: Callable[..., Any]) -> None:
        """Register a filter whose results are measured."""
        if name not in CONSTANT_FILTERS:
            function = self._measured(name, function)
        self.filters[name] = function

    def add_functions(self, functions: Mapping[str, Callable[..., Any]]) -> None:
        """Register trusted functions, which bound their own work."""
        self.globals.update(functions)
        self._trusted |= frozenset(functions.values())

    def part(self, value: Any) -> Any:  # noqa: ANN401 - any value of a template
        """Charge a slice of a text or list, and return it."""
        if len(value) > SMALL:
            self.charge(len(value) if value.__class__ is str else SLOT * len(value))
        return value

    def built(self, value: Any) -> Any:  # noqa: ANN401
        """Charge a new value, and return it: one value held many times takes no memory yet."""
        if value.__class__ is str:
            if len(value) > SMALL:
                self.charge(len(value))
        elif value.__class__ not in _SCALARS:
            if value.__class__ in {tuple, dict}:
                fix(*(value.values() if value.__class__ is dict else value))
            size = size_of(value)
            self.charge(size if size > MAX_SIZE else SLOT * _num_items(value))
        return value

    def own(self, items: list[Any]) -> MutableList:
        """Charge a list that the template writes, and return it as a list that it may change."""
        fix(*items)
        size = size_of(items)
        self.charge(size if size > MAX_SIZE else SLOT * len(items))
        return MutableList(items, size)

    def printed(self, value: Any) -> str:  # noqa: ANN401
        """Return a value as text, charged before it is built."""
        if value.__class__ is str:
            return str(value)
        if value.__class__ not in _SCALARS:
            self.charge(size_of(value))
        return str(value)

    def added(self, left: Any, right: Any) -> Any:  # noqa: ANN401
        """Return ``left + right``, charged."""
        if left.__class__ is int and right.__class__ is int:
            self.charge(sizes.of_operation("+", left, right))
        return self.built(left + right)

    def text(self, *parts: Any) -> str:  # noqa: ANN401
        """Return the parts joined, for the operator ``~``."""
        return self._joined(
            [part if part.__class__ is str else self.printed(part) for part in parts]
        )

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:  # noqa: ANN401
        """Charge the result of an operator before it is built."""
        self.charge(sizes.of_operation(operator, left, right))
        return super().call_binop(context, operator, left, right)

    def getattr(self, obj: Any, attribute: str) -> Any:  # noqa: ANN401
        """Return an attribute, with a fast path for map keys and text methods."""
        if obj.__class__ is dict and attribute not in _OF_MAPS:
            return obj[attribute] if attribute in obj else self.undefined(obj=obj, name=attribute)
        if obj.__class__ is str and attribute in _OF_TEXTS:
            return getattr(obj, attribute)
        return super().getattr(obj, attribute)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:  # noqa: ANN401
        """Refuse methods whose results are not measured, and what Jinja refuses."""
        if obj.__class__ is MutableList and attr in METHODS:
            return True
        return attr not in UNBOUNDED_METHODS and super().is_safe_attribute(obj, attr, value)

    def call(
        self,
        context: Context,
        function: Any,  # noqa: ANN401
        /,
        *args: Any,  # noqa: ANN401
        _loop_vars: dict[str, Any] | None = None,
        _block_vars: dict[str, Any] | None = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        """Call a function; charge the result of a text's method before it is built."""
        if function.__class__ is BuiltinMethodType:  # already checked by getattr
            if function.__name__ in sizes.MEASURED_METHODS and function.__self__.__class__ is str:
                return self._grown(function, args, kwargs)
            result = function(*args, **kwargs)
            if result.__class__ is str and len(result) > SMALL:
                self.charge(len(result))
            return result
        if function in self._trusted:
            result = function(*args, **kwargs)
            self.charge(len(result) if result.__class__ is str else 0)
            return result
        # varargs, kwargs and dict() can hold one value many times
        if function is dict or function is _Namespace:
            self.charge(sizes.of_pairs(args))
        if function is dict or getattr(function, "catch_varargs", False) or kwargs:
            self.charge(size_of((args, kwargs)))
            if function is not _Namespace:  # its attributes may still change
                fix(*args, *kwargs.values())
        self.tick()
        variables = {"_loop_vars": _loop_vars, "_block_vars": _block_vars}
        return super().call(context, function, *args, **variables, **kwargs)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:  # noqa: ANN401
        """Charge the widths of format fields before Jinja's sandboxed formatting."""
        wrapped = super().wrap_str_format(value)
        if wrapped is None:
            return None

        @functools.wraps(wrapped)
        def measured(*args: Any, **kwargs: Any) -> str:  # noqa: ANN401
            self.charge(sizes.of_format(value.__self__, (args, kwargs)))
            return wrapped(*args, **kwargs)

        return measured

    def _grown(self, method: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401
        """Call a method of a text whose result may be larger than the text, charged."""
        text, name = method.__self__, method.__name__
        if name == "join":
            return self._join(args[0] if args else (), text)
        size = sizes.of_method(text, name, [*args, *kwargs.values()])
        if size > SMALL:
            self.charge(size)
        return method(*args, **kwargs)

    def _measured(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        num_passed = 1 if hasattr(function, "jinja_pass_arg") else 0
        measure = sizes.FILTERS.get(name)
        returns_list = name in sizes.LIST_FILTERS

        @functools.wraps(function)
        def measured(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            if measure is None:
                self.tick()
            else:
                value, *others = args[num_passed:] or (None,)
                self.charge(measure(value, [*others, *kwargs.values()]))
            result = function(*args, **kwargs)
            if result.__class__ is GeneratorType:
                return self.steps(result)
            if returns_list or result.__class__ is str:
                self.built(result)
            elif result.__class__ is int:
                self.charge(sizes.of_number(result.bit_length()))
            return result

        return measured

    def _join(self, items: Iterable[Any], d: str = "", attribute: str | None = None) -> str:
        """Return the items joined: Jinja's filter ``join``, and the method of a text."""
        values = items if attribute is None else map(make_attrgetter(self, attribute), items)
        parts: list[str] = []
        for item in self.steps(values):
            parts += (str(d), self.printed(item))
        return self._joined(parts[1:])

    def _joined(self, parts: Iterable[str]) -> str:
        """Return the texts joined, charged before they are joined."""
        kept = []
        size = 0
        for part in parts:
            kept.append(part)
            size += len(part)
            if size > MAX_SIZE:
                break
        if size > SMALL:
            self.charge(size)
        return "".join(kept)


class _Namespace(Namespace):
    def __repr__(self) -> str:
        return "<namespace>"  # its content is not measured


def _escaped(value: Any) -> str:  # noqa: ANN401
    return str(markupsafe.escape(str(value)))


def _num_items(value: Any) -> int:  # noqa: ANN401
    return len(value) if isinstance(value, list | tuple | dict) else 0
