"""Values of parameters that need no pydantic: texts, lists of texts, whole numbers.

typer reads every value with pydantic, whose import takes longer than most commands. A value whose
meaning is not plain, such as a malformed number, still goes to typer, which reports it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

WHOLE = re.compile(r"0|-?[1-9][0-9]{0,14}", re.ASCII)


def read_plainly(parameter: Any) -> Any:  # noqa: ANN401 - typer keeps its types to itself
    """Return a parameter of a command that reads its plain values without typer."""
    others = getattr(parameter, "get_runtime_param", None)  # None: another version of typer
    if others is not None and not isinstance(others, _Plainly):
        parameter.get_runtime_param = _Plainly(_PlainValues(others))
    return parameter


class _Plainly:
    """Method that returns the reader of a parameter's values."""

    def __init__(self, values: _PlainValues) -> None:
        self._values = values

    def __call__(self) -> _PlainValues:
        return self._values


class _PlainValues:
    """Reader of the values of one parameter; ``others`` returns typer's reader."""

    def __init__(self, others: Callable[[], Any]) -> None:
        self._others = others

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:  # noqa: ANN401 - see `read_plainly`
        """Return the value that typer would return, or raise what it would raise."""
        if value is None:
            return () if param.multiple or param.nargs == -1 else None
        descriptor = param.type_descriptor
        if descriptor.parameter_info.parser is None:
            if descriptor.annotation is str and type(value) is str:
                return value
            if descriptor.annotation == list[str] and _are_texts(value):
                return list(value)
            if descriptor.annotation is int and _is_plain_number(value, descriptor.parameter_info):
                return int(value)
        return self._others().coerce(value, param=param, ctx=ctx)


def _are_texts(value: object) -> bool:
    return isinstance(value, tuple | list) and all(type(item) is str for item in value)


def _is_plain_number(value: object, info: Any) -> bool:  # noqa: ANN401 - see `read_plainly`
    """Return whether a value is a whole number within the limits of its parameter."""
    if type(value) is str and not WHOLE.fullmatch(value):
        return False
    if type(value) not in {str, int}:
        return False
    number = int(value)  # type: ignore[call-overload] # one of the two
    is_above = info.min is None or number >= info.min
    return is_above and (info.max is None or number <= info.max)
