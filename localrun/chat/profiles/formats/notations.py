"""Grammar pieces of argument values in three notations: JSON objects, Python literals, Gemma's.

JSON     {"city": "Paris", "days": [1, true, null]}
Python   {'city': "Paris", "days": [1, True, None]}
Gemma    {city:<|"|>Paris<|"|>,days:[1,true,null]}

JSON values keep all of their schema. The other notations keep types, properties and enumerations
only, not lengths and patterns. Properties may come in any order in all three.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from localrun.chat.profiles.formats.values import types_of

if TYPE_CHECKING:
    from localrun.chat.profiles.tools import JsonObject, Tool

Pieces = tuple[Piece, ...]
# keywords of a schema whose properties can be written one by one
_PLAIN_KEYWORDS = frozenset(
    {"type", "properties", "required", "additionalProperties", "$defs", "definitions"}
    | {"title", "description", "$schema", "strict"}
)
_NOTES = frozenset({"title", "description", "examples", "default"})  # constrain nothing
DEEPEST = 8  # levels of a schema that the grammar follows; any value is allowed below
_LIMITS = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"})
_ALL_TYPES = frozenset({"string", "number", "boolean", "null", "array", "object"})
_ANY_STRING: JsonObject = {"type": "string"}


def json_arguments(tool: Tool) -> tuple[Piece, ...]:
    """Return the pieces of a call's arguments as a JSON object.

    llguidance accepts the properties of a schema in the schema's order only, so they are written
    one by one. A schema with other keywords, or that permits further properties, is one piece.
    """
    if not tool.properties or not _is_plain(tool.parameters):
        return (Json(tool.parameters),)
    items = [
        CallParameter((_key(key), Json(_bare(schema))), tool.requires(key))
        for key, schema in tool.properties.items()
    ]
    return ("{", Parameters(tuple(items), (Pattern(", ?"),)), "}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Notation:
    """A way to write values, as grammar pieces."""

    name: str  # of the rule for any value
    strings: tuple[Pieces, ...]  # alternatives for any string
    quotes: tuple[str, ...]  # alternatives around the strings of an enumeration
    boolean: str  # regular expressions
    null: str
    keys: tuple[str, ...]  # alternatives for a key, with "{}" as its placeholder
    any_key: Piece
    separator: Piece

    def value(self, schema: JsonObject, depth: int = 0) -> Pieces:
        """Return the pieces of a value that a schema describes, ``depth`` levels down."""
        choices = _choices(schema)
        if choices is not None:
            return _one_of([self._constant(choice) for choice in choices])
        branches = schema.get("anyOf") or schema.get("oneOf")
        if depth >= DEEPEST or "$ref" in schema or "allOf" in schema:
            return self.any_value()
        if isinstance(branches, Sequence) and all(
            isinstance(branch, Mapping) for branch in branches
        ):
            return _one_of([self.value(branch, depth + 1) for branch in branches])
        types = types_of(schema)
        if not types:
            return self.any_value()
        return _one_of([self._typed(kind, schema, depth) for kind in sorted(types)])

    def any_value(self) -> Pieces:
        """Return the pieces of any value."""
        again: Pieces = (Again(self.name),)
        options = [self._typed(kind, {}, 0, inner=again) for kind in sorted(_ALL_TYPES)]
        return (Named(self.name, _one_of(options)),)

    def _typed(
        self, kind: str, schema: JsonObject, depth: int, *, inner: Pieces | None = None
    ) -> Pieces:
        match kind:
            case "string":
                return _one_of(self.strings)
            case "boolean":
                return (Pattern(self.boolean),)
            case "null":
                return (Pattern(self.null),)
            case "array":
                items = schema.get("items")
                item = self.value(items, depth + 1) if isinstance(items, Mapping) else inner
                return ("[", Repeated(item or self.any_value(), (self.separator,)), "]")
            case "object":
                return ("{", self._members(schema, depth, inner), "}")
        limits = {key: schema[key] for key in _LIMITS & schema.keys()}
        return (Json({"type": kind, **limits}),)

    def _members(self, schema: JsonObject, depth: int, inner: Pieces | None) -> Piece:
        properties = schema.get("properties")
        if not isinstance(properties, Mapping) or not properties:
            extra = schema.get("additionalProperties")
            value = self.value(extra, depth + 1) if isinstance(extra, Mapping) else inner
            return Repeated((self.any_key, *(value or self.any_value())), (self.separator,))
        required = schema.get("required")
        required_keys = set(required) if isinstance(required, Sequence) else set()
        items = [
            CallParameter(
                (*self._key(key), *self.value(_schema(value), depth + 1)), key in required_keys
            )
            for key, value in properties.items()
        ]
        return Parameters(tuple(items), (self.separator,))

    def _key(self, key: str) -> Pieces:
        return _one_of([(form.replace("{}", key),) for form in self.keys])

    def _constant(self, value: Any) -> Pieces:  # noqa: ANN401 - any JSON value
        if isinstance(value, str):
            return _one_of([(quote + value + quote,) for quote in self.quotes])
        if value is None or isinstance(value, bool):
            return self._typed("null" if value is None else "boolean", {}, 0)
        return (Json({"const": value}),)


def _schema(value: object) -> JsonObject:
    return value if isinstance(value, Mapping) else {}


def _choices(schema: JsonObject) -> Sequence[Any] | None:
    if "const" in schema:
        return [schema["const"]]
    choices = schema.get("enum")
    return choices if isinstance(choices, Sequence) and choices else None


def _one_of(options: Sequence[Pieces]) -> Pieces:
    distinct = list(dict.fromkeys(options)) if all(map(_is_hashable, options)) else list(options)
    return distinct[0] if len(distinct) == 1 else (OneOf(tuple(distinct)),)


def _is_hashable(pieces: Pieces) -> bool:
    return all(isinstance(piece, str) for piece in pieces)


def _is_plain(schema: JsonObject) -> bool:
    return schema.keys() <= _PLAIN_KEYWORDS and schema.get("additionalProperties") is False


def _key(key: str) -> Pattern:
    return Pattern(f"{escaped(json.dumps(key, ensure_ascii=False))}: ?")


def _bare(schema: JsonObject) -> JsonObject:
    """Return a schema without annotations, so that equal schemas are compiled once."""
    return {key: value for key, value in schema.items() if key not in _NOTES}


# a Python string in single quotes, in llguidance's syntax
_SINGLE = r"'([^'\\\n\r]|\\.)*'"
PYTHON = Notation(
    name="python_value",
    strings=((Json(_ANY_STRING),), (Pattern(_SINGLE),)),
    quotes=('"', "'"),
    boolean="True|False|true|false",
    null="None|null",
    keys=('"{}": ', "'{}': "),
    any_key=Pattern(rf"(\"([^\"\\\n\r]|\\.)*\"|{_SINGLE}): ?"),
    separator=Pattern(", ?"),
)
GEMMA_QUOTE = '<|"|>'
GEMMA = Notation(
    name="gemma_value",
    strings=((GEMMA_QUOTE, FreeText(GEMMA_QUOTE)),),
    quotes=(GEMMA_QUOTE,),
    boolean="true|false|True|False",
    null="null|None",
    keys=("{}:",),
    any_key=Pattern(r"[^\s:{},\[\]\"<>|]{1,128}:"),
    separator=Pattern(", ?"),
)
