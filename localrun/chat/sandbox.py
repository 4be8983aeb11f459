"""A Jinja environment in which a template can neither run for ever nor eat memory.

A template comes with a model and is untrusted. Jinja's sandbox keeps it away from
files and modules, but lets it loop, recurse and build texts without end. Here it
has a budget of time and of built text. The clock is looked at wherever work can
repeat (a step of a loop, a macro, a filter), and what an operator, a filter or a
method could blow up is measured before it is built, since C looks at no clock.
Small results are not counted: that keeps an honest template as fast as before.
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
from localrun.chat.compiler import BoundedGenerator
from localrun.chat.generation import GenerationTag, Metered
from localrun.chat.mutable import METHODS, MutableList, fix
from localrun.chat.sizes import MAX_SIZE, SLOT, SMALL, size_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import CodeType

    from jinja2.runtime import Context

    from localrun.chat.budget import Budget

MAX_CODE_CHARS = 768 * 1024  # of Python: a template of 20 KB comes to some 300
# what no chat template needs and what takes more than linear time
UNBOUNDED_FILTERS = ("pprint", "random", "striptags", "urlize", "wordwrap", "xmlattr")
UNBOUNDED_GLOBALS = ("cycler", "joiner", "lipsum")
UNBOUNDED_METHODS = frozenset({"encode", "fromkeys", "maketrans", "to_bytes", "translate"})
# these take the same short time whatever they are given
CONSTANT_FILTERS = frozenset({"count", "d", "default", "first", "last", "length"})
_OF_MAPS = frozenset(dir(dict))
_OF_TEXTS = (
    frozenset(name for name in dir(str) if not name.startswith("_"))
    - UNBOUNDED_METHODS
    - {"format", "format_map"}
)
_SCALARS = frozenset({int, float, bool, type(None)})


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """Jinja's sandbox with a budget."""

    code_generator_class = BoundedGenerator
    intercepted_binops = frozenset({"*", "**", "%", "//", "/", "-"})

    def __init__(self, budget: Budget) -> None:
        super().__init__(
            trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, GenerationTag, Metered]
        )
        self.charge, self.tick, self.steps = budget.charge, budget.tick, budget.steps
        self._trusted: frozenset[object] = frozenset()
        self.concat = self._joined  # type: ignore[method-assign]  # what compiled templates join with
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
        """Compile what Jinja has written; Python holds the GIL over it."""
        if len(source) > MAX_CODE_CHARS:
            raise TemplateSyntaxError("it is too large to be compiled", 1)
        return super()._compile(source, filename)

    def add_filter(self, name: str, function: Callable[..., Any]) -> None:
        """Take in a filter; what it builds is measured."""
        if name not in CONSTANT_FILTERS:
            function = self._measured(name, function)
        self.filters[name] = function

    def add_functions(self, functions: Mapping[str, Callable[..., Any]]) -> None:
        """Take in functions of ours, which are bounded by themselves."""
        self.globals.update(functions)
        self._trusted |= frozenset(functions.values())

    def part(self, value: Any) -> Any:  # noqa: ANN401 - any value of a template
        """Measure a copied part of a text or list."""
        if len(value) > SMALL:
            self.charge(len(value) if value.__class__ is str else SLOT * len(value))
        return value

    def built(self, value: Any) -> Any:  # noqa: ANN401
        """Measure what is there now: it may hold one value many times, which costs no space yet."""
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
        """Measure a list that the template writes, and let it append to it."""
        fix(*items)
        size = size_of(items)
        self.charge(size if size > MAX_SIZE else SLOT * len(items))
        return MutableList(items, size)

    def printed(self, value: Any) -> str:  # noqa: ANN401
        """Return a value as text."""
        if value.__class__ is str:
            return str(value)
        if value.__class__ not in _SCALARS:
            self.charge(size_of(value))
        return str(value)

    def added(self, left: Any, right: Any) -> Any:  # noqa: ANN401
        """Return ``left + right``."""
        if left.__class__ is int and right.__class__ is int:
            self.charge(sizes.of_operation("+", left, right))
        return self.built(left + right)

    def text(self, *parts: Any) -> str:  # noqa: ANN401
        """Return what ``~`` joins."""
        return self._joined(
            [part if part.__class__ is str else self.printed(part) for part in parts]
        )

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:  # noqa: ANN401
        """Measure the result of an operator before it is built."""
        self.charge(sizes.of_operation(operator, left, right))
        return super().call_binop(context, operator, left, right)

    def getattr(self, obj: Any, attribute: str) -> Any:  # noqa: ANN401
        """Take the common ways straight: a key of a map, a method of a text."""
        if obj.__class__ is dict and attribute not in _OF_MAPS:
            return obj[attribute] if attribute in obj else self.undefined(obj=obj, name=attribute)
        if obj.__class__ is str and attribute in _OF_TEXTS:
            return getattr(obj, attribute)
        return super().getattr(obj, attribute)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:  # noqa: ANN401
        """Refuse methods whose results are not measured, besides what Jinja refuses."""
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
        """Call a function; measure the result of a text's method before it is built."""
        if function.__class__ is BuiltinMethodType:  # getattr has already let it pass
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
        # varargs, kwargs and dict() are one more way to hold a value twice
        if function is dict or function is _Namespace:
            self.charge(sizes.of_pairs(args))
        if function is dict or getattr(function, "catch_varargs", False) or kwargs:
            self.charge(size_of((args, kwargs)))
            if function is not _Namespace:  # its attributes are no values inside of a value
                fix(*args, *kwargs.values())
        self.tick()
        variables = {"_loop_vars": _loop_vars, "_block_vars": _block_vars}
        return super().call(context, function, *args, **variables, **kwargs)

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

    def _grown(self, method: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401
        """Call a method of a text whose result may be larger than the text."""
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
        """Jinja's filter of this name, and the method of a text."""
        found = items if attribute is None else map(make_attrgetter(self, attribute), items)
        parts: list[str] = []
        for item in self.steps(found):
            parts += (str(d), self.printed(item))
        return self._joined(parts[1:])

    def _joined(self, parts: Iterable[str]) -> str:
        """Join texts, counting before they are one."""
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
        return "<namespace>"  # what it holds is not measured


def _escaped(value: Any) -> str:  # noqa: ANN401
    return str(markupsafe.escape(str(value)))


def _num_items(value: Any) -> int:  # noqa: ANN401
    return len(value) if isinstance(value, list | tuple | dict) else 0
