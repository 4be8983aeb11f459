"""Arguments in JSON as pieces of a grammar: the properties of the object in any order.

llguidance takes the properties of a schema in the schema's order only, and models write
them in the order that they find best.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from localrun.chat.profiles.forms import CallParameter, Json, Parameters, Pattern, Piece
from localrun.chat.profiles.marks import escaped

if TYPE_CHECKING:
    from localrun.chat.profiles.tools import JsonObject, Tool

# what a schema may say whose properties can be written one by one
_PLAIN = frozenset(
    {"type", "properties", "required", "additionalProperties", "$defs", "definitions"}
    | {"title", "description", "$schema", "strict"}
)
_NOTES = frozenset({"title", "description", "examples", "default"})  # that bind nothing


def json_arguments(tool: Tool) -> tuple[Piece, ...]:
    """Return the pieces of a call's arguments.

    A schema that says more than its properties, or permits others, is taken as a whole.
    """
    if not tool.properties or not _is_plain(tool.parameters):
        return (Json(tool.parameters),)
    items = [
        CallParameter((_key(key), Json(_bare(schema))), tool.requires(key))
        for key, schema in tool.properties.items()
    ]
    return ("{", Parameters(tuple(items), (Pattern(", ?"),)), "}")


def _is_plain(schema: JsonObject) -> bool:
    return schema.keys() <= _PLAIN and schema.get("additionalProperties") is False


def _key(key: str) -> Pattern:
    return Pattern(f"{escaped(json.dumps(key, ensure_ascii=False))}: ?")


def _bare(schema: JsonObject) -> JsonObject:
    """Return a schema without what is said about it: equal ones are compiled once."""
    return {key: value for key, value in schema.items() if key not in _NOTES}
