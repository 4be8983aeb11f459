"""As much of JSON Schema as our own document uses, to hold answers against it."""

from __future__ import annotations

import re
from typing import Any

TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "null": (type(None),),
}


def problems(document: Any, schema: Any, value: Any, place: str = "$") -> list[str]:
    """Return what of a value its schema forbids, each with its place."""
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        tried = [problems(document, one, value, place) for one in schema["anyOf"]]
        return [] if any(not found for found in tried) else [f"{place}: none of {tried}"]
    if "enum" in schema and value not in schema["enum"]:
        return [f"{place}: {value!r} is not in {schema['enum']}"]
    kind = schema.get("type")
    if kind and (not isinstance(value, TYPES[kind]) or (kind != "boolean" and value is True)):
        return [f"{place}: {value!r} is no {kind}"]
    if isinstance(value, dict):
        return _of_object(document, schema, value, place)
    if isinstance(value, list):
        items = schema.get("items", {})
        return [
            problem
            for number, item in enumerate(value)
            for problem in problems(document, items, item, f"{place}[{number}]")
        ]
    return _of_scalar(schema, value, place)


def _of_object(document: Any, schema: Any, value: Any, place: str) -> list[str]:
    missing = [name for name in schema.get("required", ()) if name not in value]
    rest = schema.get("additionalProperties", {})
    inner = [
        problem
        for name, member in value.items()
        for problem in problems(
            document, schema.get("properties", {}).get(name, rest), member, f"{place}.{name}"
        )
    ]
    return [f"{place}: {name} is missing" for name in missing] + inner


def _of_scalar(schema: Any, value: Any, place: str) -> list[str]:
    if "minimum" in schema and value < schema["minimum"]:
        return [f"{place}: {value} is too small"]
    if "pattern" in schema and not re.search(schema["pattern"], value):
        return [f"{place}: {value!r} is not of the form {schema['pattern']}"]
    return []
