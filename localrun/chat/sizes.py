"""Sizes of results, estimated before the results are built.

In characters; an item of a list or a map counts as ``ITEM`` characters, about what it takes in
memory. Estimates may be too high, but never much too low.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

MAX_SIZE = 16 * 1024 * 1024  # of one value; a context of a million tokens is some 4 MB
SMALL = 4096  # shorter results are not counted
MAX_BITS = 64  # of an integer: larger ones can have equal hashes at will, and divide slowly
MAX_PAIRS = 256  # of dict(): keys with equal hashes are compared with each other
MAX_SOUGHT = 64  # characters of the argument of strip and of a search from the end
MAX_INDENT = 32
MAX_PRECISION = 100
ITEM = 64
SLOT = 8  # of one reference in a list
Values = Sequence[Any]
_NUMBER = re.compile(r"\d+")
_NESTED_FIELD = re.compile(r"\{[^{}]*:[^{}]*\{")
_PADDING = frozenset({"center", "ljust", "rjust", "zfill"})
_SPLITTING = frozenset({"split", "rsplit", "splitlines"})
_SEEKING = frozenset({"strip", "lstrip", "rstrip", "rfind", "rindex", "rpartition", "rsplit"})
MEASURED_METHODS = _PADDING | _SPLITTING | _SEEKING | {"expandtabs", "join", "replace"}
LIST_FILTERS = frozenset({"dictsort", "groupby", "list", "sort"})
_HUGE = MAX_SIZE + 1
_MOST_DIGITS = 9


def size_of(value: Any) -> int:  # noqa: ANN401 - any value of a template
    """Return the size of a value as text; a value held twice counts twice."""
    if isinstance(value, str):
        return len(value)
    size, pending = 0, [value]
    while pending and size <= MAX_SIZE:
        part = pending.pop()
        size += SLOT + len(part) if isinstance(part, str) else ITEM
        if isinstance(part, dict):
            pending += part.keys()
            pending += part.values()
        elif isinstance(part, list | tuple | set | frozenset):
            pending += part
    return size


def of_operation(operator: str, left: Any, right: Any) -> int:  # noqa: ANN401
    """Return the size of ``left operator right``."""
    if operator == "%" and isinstance(left, str):
        return of_percent(left, right)
    if isinstance(left, int) and isinstance(right, int):
        return of_number(_num_bits(operator, left, right))
    if operator != "*" or not (isinstance(left, int) or isinstance(right, int)):
        return 0
    row, count = (right, left) if isinstance(left, int) else (left, right)
    return size_of(row) * max(count, 0) if isinstance(count, int) else 0


def of_number(num_bits: int) -> int:
    """Return the size of an integer: 0, or too much if it has more than ``MAX_BITS``."""
    return _HUGE if num_bits > MAX_BITS else 0


def of_pairs(values: Values) -> int:
    """Return the size of ``dict(*values)``: 0, or too much for too many pairs."""
    is_long = values and isinstance(values[0], list | tuple) and len(values[0]) > MAX_PAIRS
    return _HUGE if is_long else 0


def of_percent(form: str, values: Any) -> int:  # noqa: ANN401
    """Return the size of ``form % values``, in which a value may occur many times."""
    times = form.count("%") if isinstance(values, dict) else 1
    parts = values if isinstance(values, tuple) else (values,)
    widths = sum(abs(part) for part in parts if isinstance(part, int)) if "*" in form else 0
    return len(form) + _widths(form) + widths + size_of(values) * times


def of_format(form: str, values: Any) -> int:  # noqa: ANN401
    """Return the size of ``form.format(values)``."""
    if _NESTED_FIELD.search(form):
        return _HUGE  # its widths come from the values
    return len(form) + _widths(form) + size_of(values) * form.count("{")


def of_method(owner: str, name: str, values: Values) -> int:
    """Return the size of the result of a text's method."""
    if name in _PADDING:
        return _total(values)
    if name == "expandtabs":
        return len(owner) * (1 + (_total(values) if values else 8))
    if name == "replace":
        return _of_replacement(owner, values)
    sought = _of_search(owner, values) if name in _SEEKING else 0
    return max(sought, _of_split(owner, values)) if name in _SPLITTING else sought


def _num_bits(operator: str, left: int, right: int) -> int:
    """Return an upper bound of the bits of a result and its operands."""
    bits = max(left.bit_length(), right.bit_length())
    match operator:
        case "*":
            return bits if abs(left) <= 1 else left.bit_length() + right.bit_length()
        case "**":
            return bits if abs(left) <= 1 else max(bits, _bits_of_power(left, right))
    return bits + (operator in {"+", "-"})


def _bits_of_power(left: int, right: int) -> int:
    if max(abs(left), abs(right)).bit_length() > MAX_BITS:
        return MAX_BITS + 1
    return int(math.log2(abs(left)) * abs(right)) + 1


def _of_search(_: object, values: Values) -> int:
    """Return 0, or too much for a search whose time is the product of both lengths."""
    is_long = values and isinstance(values[0], str) and len(values[0]) > MAX_SOUGHT
    return _HUGE if is_long else 0


def _of_indent(value: Any, values: Values) -> int:  # noqa: ANN401
    num_lines = str(value).count("\n") + 1
    return _length(value) + num_lines * sum(map(_number_or_length, values))


def _of_groups(_: object, values: Values) -> int:
    is_plain = all(isinstance(part, str | int | None) for part in values)
    return ITEM * _total(values) if is_plain else _HUGE


def _of_form(value: Any, values: Values) -> int:  # noqa: ANN401
    form = str(value)
    return of_percent(form, tuple(values)) + size_of(values) * form.count("%")


def _of_sum(value: Any, values: Values) -> int:  # noqa: ANN401
    """Return the size of a sum: each addition of a list builds a new list."""
    if not any(isinstance(part, list | tuple) for part in values):
        return 0
    if not isinstance(value, list | tuple):
        return _HUGE
    return len(value) * sum(map(_length, value))


def _of_replacement(value: Any, values: Values) -> int:  # noqa: ANN401
    if size_of(value) > MAX_SIZE:
        return _HUGE
    text, old, new = str(value), *(str(part) for part in (*values, "", "")[:2])
    return len(text) + text.count(old) * len(new)


def _of_split(owner: str, values: Values) -> int:
    separator = values[0] if values else None
    if isinstance(separator, str) and separator:
        return len(owner) + ITEM * owner.count(separator)
    return len(owner) * 2


def _widths(form: str) -> int:
    return sum(
        int(digits) if len(digits) <= _MOST_DIGITS else _HUGE for digits in _NUMBER.findall(form)
    )


def _length(value: Any) -> int:  # noqa: ANN401
    if isinstance(value, str):
        return len(value)
    return ITEM * len(value) if isinstance(value, list | tuple | dict) else 0


def _total(values: Values) -> int:
    return sum(abs(part) for part in values if isinstance(part, int))


def _number_or_length(value: Any) -> int:  # noqa: ANN401
    return abs(value) if isinstance(value, int) else _length(value)


FILTERS: dict[str, Callable[[Any, Values], int]] = {
    "batch": _of_groups,
    "center": lambda _, values: _total(values),
    "format": _of_form,
    "indent": _of_indent,
    "list": lambda value, _: ITEM * len(value) if isinstance(value, str) else _length(value),
    "replace": _of_replacement,
    "reverse": lambda value, _: _length(value),
    "round": lambda _, values: _HUGE if _total(values) > MAX_PRECISION else 0,
    "slice": _of_groups,
    "sort": lambda value, _: _length(value),
    "string": lambda value, _: size_of(value),
    "sum": _of_sum,
    "tojson": lambda _, values: _HUGE if _total(values) > MAX_INDENT else 0,
    "trim": _of_search,
    "unique": lambda value, _: _length(value),
}
