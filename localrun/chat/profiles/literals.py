"""Python's literals as values of JSON: what some templates print, and models write after them."""

from __future__ import annotations

import ast
from typing import Any

MAX_CHARS = 256 * 1024  # Python's parser takes some hundred bytes for each
_WORDS = {"true": True, "false": False, "null": None}


def parse_expression(text: str) -> ast.expr:
    """Return the tree of an expression.

    Raises:
        ValueError: it is none, too long, or nested too deeply.
    """
    if len(text) > MAX_CHARS:
        raise ValueError("too long")
    try:
        return ast.parse(text, mode="eval").body
    except (SyntaxError, RecursionError, MemoryError) as error:  # of foreign text
        raise ValueError("no expression") from error


def read_literal(text: str) -> Any:  # noqa: ANN401 - any JSON value
    """Return the value of a literal of Python or of JSON.

    Raises:
        ValueError: it is none.
    """
    try:
        return value_of_node(parse_expression(text.strip()))
    except RecursionError as error:
        raise ValueError("nests too deeply") from error


def value_of_node(node: ast.expr) -> Any:  # noqa: ANN401 - any JSON value
    """Return the value that a node states.

    Raises:
        ValueError: it states none of JSON's.
    """
    match node:
        case ast.Name(id=name) if name in _WORDS:
            return _WORDS[name]
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return [value_of_node(item) for item in items]
        case ast.Dict(keys=keys, values=values) if all(keys):
            return {
                str(ast.literal_eval(key)): value_of_node(value)
                for key, value in zip(keys, values, strict=True)
                if key is not None
            }
    value = ast.literal_eval(node)
    if not isinstance(value, str | int | float | bool | None):
        raise ValueError("no value of JSON")  # noqa: TRY004 - caught with the others
    return value
