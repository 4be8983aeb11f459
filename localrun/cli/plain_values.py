"""Values of parameters that need no pydantic: texts, lists of texts, numbers.

typer reads every value with pydantic, whose import takes longer than most commands. A value whose
meaning is not plain, such as a malformed number, still goes to typer, which reports it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

WHOLE = re.compile(r"0|-?[1-9][0-9]{0,14}", re.ASCII)
DECIMAL = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?", re.ASCII)


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
            number = descriptor.annotation
            if number in {int, float} and _is_plain(value, number, descriptor.parameter_info):
                return number(value)
        return self._others().coerce(value, param=param, ctx=ctx)


def _are_texts(value: object) -> bool:
    return isinstance(value, tuple | list) and all(type(item) is str for item in value)


def _is_plain(value: object, number: type, info: Any) -> bool:  # noqa: ANN401 - see `read_plainly`
    """Return whether a value is a decimal number within the limits of its parameter."""
    if type(value) is str and not (WHOLE if number is int else DECIMAL).fullmatch(value):
        return False
    if type(value) not in {str, number}:
        return False
    read = number(value)
    return (info.min is None or read >= info.min) and (info.max is None or read <= info.max)
