r"""JSON Schema as llguidance reads it: rewriting of schemas, values to values.

- Patterns are ECMAScript in JSON Schema, where ``\d`` and ``\w`` are ASCII; llguidance reads them
  as Unicode classes.
- llguidance refuses numeric bounds beyond 64-bit integers, formats that it does not know, and
  ``uniqueItems`` (unique_items.py).
- An object is closed (``additionalProperties: false``) if nothing else can add properties to it:
  a small model otherwise adds properties until its context is full.
"""

from __future__ import annotations

import re
from typing import Any

from localrun.engine.constraints.unique_items import with_unique_items

CLASSES = {"d": "digit", "D": "^digit", "w": "word", "W": "^word"}
# an escape, or a bracket: every character is read once
TOKEN = re.compile(r"\\(.)|\[\^?\]?|\]", re.DOTALL)
LARGEST_INTEGER = 2**63
LOWER, UPPER = ("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")
NESTED = ("properties", "$defs", "definitions")  # keywords that hold schemas by name
ALTERNATIVES = ("anyOf", "oneOf", "prefixItems")
VALUES = {"enum", "const", "default", "examples"}  # keywords that hold no schemas
FORMATS = {  # that llguidance knows
    "date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "time", "unknown",
    "uri", "uuid",
}  # fmt: skip


def llguidance_schema(schema: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return the schema as llguidance reads it, with objects closed.

    Objects stay open in a schema that combines them from parts (``allOf``, ``$ref``, ...).
    """
    rewritten = _rewritten(with_unique_items(schema))
    return rewritten if _combines(rewritten) else _closed(rewritten)


def with_ascii_classes(regex: str) -> str:
    r"""Return the regular expression with ``\d \D \w \W`` as ASCII classes."""
    depth = 0

    def replaced(token: re.Match[str]) -> str:
        nonlocal depth
        text, escaped = token.group(), token[1]
        if escaped is None:
            depth += 1 if text[0] == "[" else -1 if depth else 0
            return text
        name = CLASSES.get(escaped)
        if name is None:
            return text
        return f"[:{name}:]" if depth else f"[[:{name}:]]"

    return TOKEN.sub(replaced, regex)


def without_unreachable_bounds(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema without numeric bounds that exclude no 64-bit integer."""
    return {
        key: value
        for key, value in schema.items()
        if not (
            (key in LOWER and _is_number(value) and value <= -LARGEST_INTEGER)
            or (key in UPPER and _is_number(value) and value >= LARGEST_INTEGER)
        )
    }


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _rewritten(schema: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return the schema with patterns, bounds and formats that llguidance accepts.

    An unknown format does not restrict values by the standard; schemas of pydantic have such
    formats, for example "path" and "binary".
    """
    if isinstance(schema, list):
        return [_rewritten(inner) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    rewritten = without_unreachable_bounds(schema)
    if isinstance(schema.get("format"), str) and schema["format"] not in FORMATS:
        del rewritten["format"]
    if isinstance(schema.get("pattern"), str):
        rewritten["pattern"] = with_ascii_classes(schema["pattern"])
    for key in rewritten.keys() - VALUES:
        rewritten[key] = _rewritten_keyword(key, rewritten[key])
    return rewritten


def _rewritten_keyword(key: str, inner: Any) -> Any:  # noqa: ANN401 - any JSON value
    if not isinstance(inner, dict) or key not in {*NESTED, "patternProperties"}:
        return _rewritten(inner)
    is_pattern = key == "patternProperties"
    return {
        (with_ascii_classes(name) if is_pattern else name): _rewritten(schema)
        for name, schema in inner.items()
    }


def _combines(schema: object) -> bool:
    """Return whether the schema combines objects from parts: no part may be closed then."""
    if isinstance(schema, list):
        return any(map(_combines, schema))
    if not isinstance(schema, dict):
        return False
    is_part = "allOf" in schema or (
        "properties" in schema and bool(schema.keys() & {"$ref", "anyOf", "oneOf"})
    )
    return is_part or any(map(_combines, schema.values()))


def _closed(schema: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return the schema without unnamed properties; its values satisfy the open schema too."""
    if not isinstance(schema, dict):
        return schema
    closed = dict(schema)
    for name in NESTED:
        if isinstance(schema.get(name), dict):
            closed[name] = {key: _closed(inner) for key, inner in schema[name].items()}
    for name in ALTERNATIVES:
        if isinstance(schema.get(name), list):
            closed[name] = [_closed(inner) for inner in schema[name]]
    if "items" in schema:
        closed["items"] = _closed(schema["items"])
    return {"additionalProperties": False, **closed} if _is_closable(schema) else closed


def _is_closable(schema: dict[str, Any]) -> bool:
    named, required = schema.get("properties"), schema.get("required", [])
    return (
        isinstance(named, dict)
        and isinstance(required, list)
        and all(isinstance(name, str) and name in named for name in required)
        and not schema.keys() & {"patternProperties", "minProperties"}
    )
