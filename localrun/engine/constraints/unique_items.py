"""``uniqueItems`` of JSON Schema, which llguidance lacks, as an enumeration of all arrays.

{"items": {"enum": ["a", "b"]}, "uniqueItems": true}
    -> {"enum": [[], ["a"], ["b"], ["a", "b"], ["b", "a"]]}

Only small enumerations are expanded; for other items the keyword is ignored with a warning.
"""

from __future__ import annotations

import itertools
import json
import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

_log = logging.getLogger(__name__)

KEYWORD = "uniqueItems"
MAX_ARRAYS = 400
_VALUES = frozenset({"enum", "const", "default", "examples"})  # keywords that hold no schemas
_NAMED = frozenset({"properties", "patternProperties", "$defs", "definitions"})


def with_unique_items(schema: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return the schema without the keyword, with small arrays as enumerations."""
    if isinstance(schema, list):
        return [with_unique_items(inner) for inner in schema]
    if not isinstance(schema, Mapping):
        return schema
    rewritten = {key: _inner(key, value) for key, value in schema.items()}
    if KEYWORD not in rewritten or isinstance(rewritten[KEYWORD], Mapping):
        return rewritten
    if not rewritten.pop(KEYWORD):
        return rewritten
    arrays = _arrays(rewritten)
    if arrays is None:
        _log.warning("uniqueItems is ignored: the items are not a small enumeration")
        return rewritten
    return {"enum": arrays}


def _inner(key: str, value: Any) -> Any:  # noqa: ANN401
    if key in _VALUES:
        return value
    if key in _NAMED and isinstance(value, Mapping):
        return {name: with_unique_items(inner) for name, inner in value.items()}
    return with_unique_items(value)


def _arrays(schema: Mapping[str, Any]) -> list[list[Any]] | None:
    """Return all arrays that a schema permits, or None if they are too many or unbounded."""
    items = schema.get("items")
    values = _values(items) if isinstance(items, Mapping) else None
    if values is None or schema.keys() & {"prefixItems", "contains", "enum", "const"}:
        return None
    least = _bound(schema, "minItems", 0)
    most = min(_bound(schema, "maxItems", len(values)), len(values))
    counts = range(least, most + 1)
    if sum(math.perm(len(values), count) for count in counts) > MAX_ARRAYS:
        return None
    return [list(array) for count in counts for array in itertools.permutations(values, count)]


def _values(items: Mapping[str, Any]) -> list[Any] | None:
    """Return the distinct values of an item, or None if it is not an enumeration."""
    stated = [items["const"]] if "const" in items else items.get("enum")
    if not isinstance(stated, Sequence) or isinstance(stated, str):
        return None
    return list({json.dumps(value, sort_keys=True): value for value in stated}.values())


def _bound(schema: Mapping[str, Any], key: str, default: int) -> int:
    value = schema.get(key)
    return (
        value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else default
    )
