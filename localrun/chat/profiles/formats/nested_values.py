"""Argument values of nested elements, as MiniMax-M3 writes them: grammar pieces and parser.

]<]minimax[>[<days>]<]minimax[>[<item>1]<]minimax[>[</item>]<]minimax[>[</days>

A mark precedes each tag; the items of a list are elements named "item".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from localrun.chat.profiles.formats.pieces import (
    Again,
    CallParameter,
    FreeText,
    Json,
    Named,
    OneOf,
    Parameters,
    Pattern,
    Piece,
    Repeated,
)
from localrun.chat.profiles.formats.tag_patterns import escaped
from localrun.chat.profiles.formats.values import types_of, value_of_text

if TYPE_CHECKING:
    from localrun.chat.profiles.tools import JsonObject

Pieces = tuple[Piece, ...]
ITEM = "item"
DEEPEST = 64
_NAME = r"[^\s<>\/]{1,128}"
_ANY = "any_element"
_WORDS = {"boolean": "true|false|True|False", "null": "null|None"}


@dataclass(slots=True)
class _Element:
    """An open element."""

    name: str
    start: int  # offset of its content
    children: list[tuple[str, Any]] = field(default_factory=list)


def nested_pieces(schema: JsonObject, end: str, mark: str, depth: int = 0) -> Pieces:
    """Return the pieces of a value and of the tag that ends it."""
    choices = schema.get("enum")
    if isinstance(choices, Sequence) and choices:
        return _one_of([(str(choice), end) for choice in choices])
    branches = schema.get("anyOf") or schema.get("oneOf")
    if isinstance(branches, Sequence) and all(isinstance(part, Mapping) for part in branches):
        return _one_of([nested_pieces(branch, end, mark, depth + 1) for branch in branches])
    types = types_of(schema)
    if not types or depth > DEEPEST or "$ref" in schema:
        return _one_of([_text_until(end, mark), (_any_elements(mark), end)])
    return _one_of([_typed(kind, schema, end, mark, depth) for kind in sorted(types)])


def read_nested(
    text: str, start: int, key: str, schema: JsonObject, mark: str
) -> tuple[Any, int] | None:
    """Return the value behind the tag of ``key`` and the offset behind its end tag.

    None if the value has no end, or nests too deeply.
    """
    path = [_Element(key, start)]
    for tag in _tags(mark).finditer(text, start):
        if not tag["end"]:
            path.append(_Element(tag["name"], tag.end()))
            if len(path) > DEEPEST:
                return None
        elif tag["name"] == path[-1].name:
            element = path.pop()
            content = element.children or text[element.start : tag.start()]
            if not path:
                return _value(content, schema), tag.end()
            path[-1].children.append((element.name, content))
    return None


def not_beginning_with(mark: str) -> str:
    """Return the expression of any text that does not begin with a mark's two first characters."""
    first, second = escaped(mark[0]), escaped(mark[1])
    return rf"/([^{first}]|{first}[^{second}])(.|\n)*|{first}?/"


def _typed(kind: str, schema: JsonObject, end: str, mark: str, depth: int) -> Pieces:
    if kind in _WORDS:
        return (Pattern(_WORDS[kind]), end)
    if kind == "string":
        return _text_until(end, mark)
    if kind == "array":
        items = schema.get("items")
        inner = items if isinstance(items, Mapping) else {}
        item_end = f"{mark}</{ITEM}>"
        return (
            Repeated((f"{mark}<{ITEM}>", *nested_pieces(inner, item_end, mark, depth + 1))),
            end,
        )
    if kind != "object":
        return (Json({**schema, "type": kind}), end)
    properties = schema.get("properties")
    if not isinstance(properties, Mapping) or not properties:
        return (_any_elements(mark), end)
    required = schema.get("required")
    required_keys = set(required) if isinstance(required, Sequence) else set()
    members = []
    for key, value in properties.items():
        inner = value if isinstance(value, Mapping) else {}
        pieces = nested_pieces(inner, f"{mark}</{key}>", mark, depth + 1)
        members.append(CallParameter((f"{mark}<{key}>", *pieces), key in required_keys))
    return (Parameters(tuple(members)), end)


def _any_elements(mark: str) -> Piece:
    """Return the rule of any elements; the names of their end tags are not checked."""
    inner = OneOf((_text_until(f"{mark}</", mark), (Again(_ANY), f"{mark}</")))
    return Named(_ANY, (Repeated((f"{mark}<", Pattern(_NAME), ">", inner, Pattern(_NAME), ">")),))


def _text_until(end: str, mark: str) -> Pieces:
    return (FreeText(end, not_beginning_with(mark)),)


def _one_of(options: Sequence[Pieces]) -> Pieces:
    return options[0] if len(options) == 1 else (OneOf(tuple(options)),)


def _value(content: Any, schema: JsonObject) -> Any:  # noqa: ANN401 - any JSON value
    """Return the value of an element's content: a text, or elements by name."""
    if isinstance(content, str):
        types = types_of(schema)
        is_empty = not content.strip() and types in ({"array"}, {"object"})
        return ([] if types == {"array"} else {}) if is_empty else value_of_text(content, schema)
    branch = _branch(schema)
    properties = branch.get("properties")
    known = properties if isinstance(properties, Mapping) else {}
    if all(name == ITEM for name, _ in content) and ITEM not in known:
        items = branch.get("items")
        return [_value(inner, items if isinstance(items, Mapping) else {}) for _, inner in content]
    return {name: _value(inner, _of(known.get(name))) for name, inner in content}


def _branch(schema: JsonObject) -> JsonObject:
    """Return the alternative of a schema that describes elements, or the schema itself."""
    branches = schema.get("anyOf") or schema.get("oneOf") or ()
    parts = [part for part in branches if isinstance(part, Mapping)]
    return next((part for part in parts if types_of(part) & {"array", "object"}), schema)


def _of(schema: object) -> JsonObject:
    return schema if isinstance(schema, Mapping) else {}


@lru_cache(8)
def _tags(mark: str) -> re.Pattern[str]:
    return re.compile(rf"{re.escape(mark)}<(?P<end>/?)(?P<name>[^<>]+)>")
