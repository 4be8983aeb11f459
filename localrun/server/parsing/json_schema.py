"""JSON Schema vocabulary of request and response bodies: constants and small constructors.

Plain dictionaries, cheap enough to build at import (about 1 µs each). `record` is the object of
a response: its optional members may be absent and are never null. `request` is the object of a
request: its optional members may be null, and unknown members pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}
WHOLE: Schema = {"type": "integer"}
COUNT: Schema = {"type": "integer", "minimum": 0}
POSITIVE: Schema = {"type": "integer", "minimum": 1}
NUMBER: Schema = {"type": "number"}
OBJECT: Schema = {"type": "object"}
ANYTHING: Schema = {}
MODEL_NAME: Schema = {"type": "string", "minLength": 1, "examples": ["guide"]}
TIME: Schema = {"type": "string", "format": "date-time"}
TOKEN: Schema = {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}


def ref(name: str) -> Schema:
    """Return a reference to a named schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def maybe(schema: Schema) -> Schema:
    """Return a schema that also allows null."""
    return {"anyOf": [schema, {"type": "null"}]}


def either(*schemas: Schema) -> Schema:
    """Return a schema that allows what any of the schemas allows."""
    return {"anyOf": list(schemas)}


def one_of(*values: object) -> Schema:
    """Return a schema of constants."""
    return {"enum": list(values)}


def bounded(schema: Schema, low: float | None, high: float | None) -> Schema:
    """Return the schema of a number with its bounds; None is no bound."""
    bounds = {"minimum": low, "maximum": high}
    return {**schema, **{name: bound for name, bound in bounds.items() if bound is not None}}


def listed(item: Schema, **bounds: int) -> Schema:
    """Return the schema of a list; ``bounds`` are minItems and maxItems."""
    return {"type": "array", "items": item, **bounds}


def mapped(value: Schema, **bounds: object) -> Schema:
    """Return the schema of an object with free names and values of one schema."""
    return {"type": "object", "additionalProperties": value, **bounds}


def record(required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None) -> Schema:
    """Return the schema of an object of a response."""
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
    }


def request(required: Mapping[str, Schema], optional: Mapping[str, Schema]) -> Schema:
    """Return the schema of an object of a request."""
    return record(required, {name: maybe(schema) for name, schema in optional.items()})


def is_token(value: object) -> bool:
    """Return whether a JSON value is a token id, as `TOKEN` describes it."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= TOKEN["maximum"]
