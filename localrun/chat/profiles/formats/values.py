"""Parser of argument values: JSON, Python literals, and text without quotes.

Templates print values as Python does, and models imitate the output. All input is foreign:
anything malformed, too long or nested too deeply raises ValueError.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from localrun.chat.profiles.tools import JsonObject

MAX_LITERAL_CHARS = 256 * 1024  # Python's parser takes some hundred bytes for each
PYTHON_WORDS = {"True": "true", "False": "false", "None": "null"}  # as JSON
_JSON_WORDS = {"true": True, "false": False, "null": None}
_BLANKS = re.compile(r"\s*")
_TYPES_OF_PYTHON = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    list: "array",
    dict: "object",
    type(None): "null",
}


def types_of(schema: JsonObject) -> frozenset[str]:
    """Return the JSON types that a schema names; empty if it names none."""
    stated = schema.get("type")
    if isinstance(stated, str):
        return frozenset({stated})
    if isinstance(stated, Sequence):
        return frozenset(filter(lambda name: isinstance(name, str), stated))
    if isinstance(schema.get("enum"), Sequence):
        return frozenset(_TYPES_OF_PYTHON.get(type(value), "object") for value in schema["enum"])
    for key in ("anyOf", "oneOf"):
        if isinstance(schema.get(key), Sequence):
            branches = [types_of(part) for part in schema[key] if isinstance(part, Mapping)]
            return frozenset().union(*branches) if all(branches) else frozenset()
    return frozenset()


def value_of_text(text: str, schema: JsonObject) -> Any:  # noqa: ANN401 - any JSON value
    """Return the value of a text without quotes, by its schema; the text itself if none fits."""
    types = types_of(schema)
    if types == {"string"}:
        return text
    try:
        value = _read_unquoted(text.strip())
    except ValueError:
        return text
    has_stated_type = not types or _has_type(value, types)
    return value if has_stated_type or "string" not in types else text


def read_json(text: str) -> Any:  # noqa: ANN401 - any JSON value
    """Return the value of a JSON text.

    Raises:
        ValueError: the text is not one JSON value, or nests too deeply.
    """
    value, end = read_json_at(text, 0)
    if text[end:].strip():
        raise ValueError("more than one value")
    return value


def read_json_at(text: str, start: int) -> tuple[Any, int]:
    """Return the JSON value that follows ``start`` and any blanks, and the offset of its end.

    Raises:
        ValueError: no JSON value follows, or it nests too deeply.
    """
    try:
        value, end = _DECODER.raw_decode(text, skip_blanks(text, start))
    except RecursionError as error:
        raise ValueError("nests too deeply") from error
    return value, end


def skip_blanks(text: str, start: int) -> int:
    """Return the offset of the next character that is not blank, or the length of the text."""
    blanks = _BLANKS.match(text, start)
    return blanks.end() if blanks else start


def parse_expression(text: str) -> ast.expr:
    """Return the syntax tree of a Python expression.

    Raises:
        ValueError: the text is not an expression, too long, or nested too deeply.
    """
    if len(text) > MAX_LITERAL_CHARS:
        raise ValueError("too long")
    try:
        return ast.parse(text, mode="eval").body
    except (SyntaxError, RecursionError, MemoryError) as error:  # of foreign text
        raise ValueError("no expression") from error


def value_of_node(node: ast.expr) -> Any:  # noqa: ANN401 - any JSON value
    """Return the value of a literal's syntax tree.

    Raises:
        ValueError: the value has no JSON equivalent.
    """
    match node:
        case ast.Name(id=name) if name in _JSON_WORDS:
            return _JSON_WORDS[name]
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


def _read_unquoted(word: str) -> Any:  # noqa: ANN401 - any JSON value
    """Return the value of JSON or of a Python literal."""
    try:
        return json.loads(PYTHON_WORDS.get(word, word), parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("nests too deeply") from error
    except ValueError:
        if not word.startswith(("[", "{")):
            raise
    return _read_literal(word)


def _read_literal(text: str) -> Any:  # noqa: ANN401 - any JSON value
    try:
        return value_of_node(parse_expression(text.strip()))
    except RecursionError as error:
        raise ValueError("nests too deeply") from error


def _has_type(value: Any, types: frozenset[str]) -> bool:  # noqa: ANN401
    kind = _TYPES_OF_PYTHON[type(value)]
    return kind in types or (kind == "integer" and "number" in types)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)
