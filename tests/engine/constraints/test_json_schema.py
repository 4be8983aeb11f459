"""Expressions and numbers of JSON Schema, as the grammar engine reads them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from llguidance import LLMatcher

from localrun.engine.constraints.grammar import grammar_of
from localrun.engine.constraints.json_schema import (
    llguidance_schema,
    with_ascii_classes,
    without_unreachable_bounds,
)
from localrun.engine.params import ConstraintKind, ConstraintSpec


@pytest.mark.parametrize(
    ("regex", "expected"),
    [
        (r"\d+", "[[:digit:]]+"),
        (r"[\d.]+", "[[:digit:].]+"),
        (r"[^\W\d]\D", "[^[:^word:][:digit:]][[:^digit:]]"),
        (r"\\d\[\w\]", r"\\d\[[[:word:]]\]"),
        (r"[a\]\d]\d", r"[a\][:digit:]][[:digit:]]"),
        (r"[]\d]\d", "[][:digit:]][[:digit:]]"),
        (r"\s\p{L}x\u0041", r"\s\p{L}x\u0041"),
        ("\\", "\\"),
        ("]", "]"),
    ],
)
def test_digits_and_words_are_ascii(regex: str, expected: str) -> None:
    assert with_ascii_classes(regex) == expected


def grammar_error(schema: dict[str, Any]) -> str:
    spec = ConstraintSpec(kind=ConstraintKind.JSON_SCHEMA, text=json.dumps(schema))
    return str(LLMatcher.validate_grammar(grammar_of(spec)))


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "integer", "minimum": -(10**40), "maximum": 10**20},
        {"type": "integer", "exclusiveMinimum": -(2**63), "exclusiveMaximum": 2**63},
        {"type": "number", "minimum": -1e300, "maximum": 1e300},
        {"type": "object", "properties": {"wei": {"const": 10**20}, "minimum": {}}},
        {"enum": [10**25, -(10**25)]},
    ],
)
def test_numbers_of_any_size_are_schemas(schema: dict[str, Any]) -> None:
    assert grammar_error(schema) == ""


def test_bounds_that_exclude_something_stay() -> None:
    schema = {"minimum": 10**30, "maximum": -(10**30), "exclusiveMinimum": 0, "multipleOf": 2}

    assert without_unreachable_bounds(schema) == schema


def test_expressions_are_replaced_where_a_schema_has_them_and_not_in_values() -> None:
    schema = {
        "properties": {"pattern": {"type": "string", "pattern": r"\d"}, "x": {"const": r"\d"}},
        "patternProperties": {r"^\d$": {"type": "string"}},
        "enum": [{"pattern": r"\d"}],
    }

    known = llguidance_schema(schema)

    assert known["properties"]["pattern"]["pattern"] == "[[:digit:]]"
    assert known["properties"]["x"] == {"const": r"\d"}
    assert list(known["patternProperties"]) == ["^[[:digit:]]$"]
    assert known["enum"] == [{"pattern": r"\d"}]
