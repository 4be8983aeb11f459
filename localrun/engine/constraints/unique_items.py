"""``uniqueItems`` of JSON Schema, which llguidance lacks: as an enumeration, where that is small.

{"items": {"enum": ["a", "b"]}, "uniqueItems": true}
    -> {"enum": [[], ["a"], ["b"], ["a", "b"], ["b", "a"]]}

Of other arrays nothing is held, and the log says so.
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
MOST_ARRAYS = 400
_VALUES = frozenset({"enum", "const", "default", "examples"})  # keywords that hold no schemas
_NAMED = frozenset({"properties", "patternProperties", "$defs", "definitions"})


def with_unique_items(schema: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return the schema without the keyword, and with its meaning where that can be held."""
    if isinstance(schema, list):
        return [with_unique_items(inner) for inner in schema]
    if not isinstance(schema, Mapping):
        return schema
    known = {key: _inner(key, value) for key, value in schema.items()}
    if KEYWORD not in known or isinstance(known[KEYWORD], Mapping):
        return known
    if not known.pop(KEYWORD):
        return known
    arrays = _arrays(known)
    if arrays is None:
        _log.warning("uniqueItems is not held: the items are not a small enumeration")
        return known
    return {"enum": arrays}


def _inner(key: str, value: Any) -> Any:  # noqa: ANN401
    if key in _VALUES:
        return value
    if key in _NAMED and isinstance(value, Mapping):
        return {name: with_unique_items(one) for name, one in value.items()}
    return with_unique_items(value)


def _arrays(schema: Mapping[str, Any]) -> list[list[Any]] | None:
    """Return all arrays that a schema permits; None where they are too many, or any."""
    items = schema.get("items")
    values = _values(items) if isinstance(items, Mapping) else None
    if values is None or schema.keys() & {"prefixItems", "contains", "enum", "const"}:
        return None
    least = _bound(schema, "minItems", 0)
    most = min(_bound(schema, "maxItems", len(values)), len(values))
    counts = range(least, most + 1)
    if sum(math.perm(len(values), count) for count in counts) > MOST_ARRAYS:
        return None
    return [list(some) for count in counts for some in itertools.permutations(values, count)]


def _values(items: Mapping[str, Any]) -> list[Any] | None:
    """Return the different values that an item may have, where it is nothing but one of some."""
    stated = [items["const"]] if "const" in items else items.get("enum")
    if not isinstance(stated, Sequence) or isinstance(stated, str):
        return None
    return list({json.dumps(value, sort_keys=True): value for value in stated}.values())


def _bound(schema: Mapping[str, Any], key: str, default: int) -> int:
    value = schema.get(key)
    return (
        value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else default
    )
