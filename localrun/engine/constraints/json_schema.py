r"""Regular expressions and numbers of JSON Schema in the terms of the grammar engine.

JSON Schema's expressions are ECMAScript's, in which ``\d`` and ``\w`` are ASCII; the engine
reads them by Unicode. Bounds of a number that no 64-bit integer reaches say nothing to the
engine, which refuses them.
"""

from __future__ import annotations

import re
from typing import Any

CLASSES = {"d": "digit", "D": "^digit", "w": "word", "W": "^word"}
# an escape, or a bracket: every character is read once
TOKEN = re.compile(r"\\(.)|\[\^?\]?|\]", re.DOTALL)
LARGEST = 2**63
LOWER, UPPER = ("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")


def with_ascii_classes(regex: str) -> str:
    r"""Return the expression with ``\d \D \w \W`` as ASCII classes."""
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
    """Return the schema without bounds of a number that exclude no 64-bit integer."""
    return {
        key: value
        for key, value in schema.items()
        if not (
            (key in LOWER and _is_number(value) and value <= -LARGEST)
            or (key in UPPER and _is_number(value) and value >= LARGEST)
        )
    }


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
