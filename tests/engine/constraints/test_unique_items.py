from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from llguidance import LLMatcher, LLTokenizer

from localrun.engine.constraints.grammar import grammar_of
from localrun.engine.constraints.unique_items import with_unique_items
from localrun.engine.params import ConstraintKind, ConstraintSpec

LETTERS = {"type": "array", "items": {"enum": ["a", "b", "c"]}, "uniqueItems": True}


def takes(schema: dict[str, Any], value: Any) -> bool:
    spec = ConstraintSpec(kind=ConstraintKind.JSON_SCHEMA, text=json.dumps(schema))
    matcher = LLMatcher(LLTokenizer("byte"), grammar_of(spec))
    assert not matcher.is_error(), matcher.get_error()
    tokens = list(json.dumps(value).encode())
    return bool(matcher.try_consume_tokens(tokens) == len(tokens) and matcher.is_accepting())


@pytest.mark.parametrize("count", range(5))
def test_items_of_a_small_enumeration_are_different(count: int) -> None:
    for values in itertools.product("abc", repeat=count):
        assert takes(LETTERS, list(values)) is (len(set(values)) == count)


def test_the_number_of_different_items_is_held_too() -> None:
    schema = {"type": "object", "properties": {"x": {**LETTERS, "minItems": 1, "maxItems": 2}}}

    allowed = [n for n in range(4) if takes(schema, {"x": list("abc")[:n]})]

    assert allowed == [1, 2]


def test_a_constant_comes_once() -> None:
    schema = {**LETTERS, "items": {"const": {"a": 1}}}

    assert takes(schema, [{"a": 1}])
    assert not takes(schema, [{"a": 1}, {"a": 1}])


@pytest.mark.parametrize("items", [{"type": "string"}, {"enum": [f"v{n}" for n in range(30)]}, {}])
def test_other_items_may_be_equal_and_the_log_says_so(
    items: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    value = ["v1", "v1"]

    assert takes({"type": "array", "items": items, "uniqueItems": True}, value)
    assert "uniqueItems is ignored" in caplog.text


def test_the_keyword_set_to_false_means_nothing(caplog: pytest.LogCaptureFixture) -> None:
    assert takes({**LETTERS, "uniqueItems": False}, ["a", "a"])
    assert not caplog.records


def test_a_property_of_that_name_and_values_stay_as_they_are() -> None:
    schema = {"properties": {"uniqueItems": {"const": {"uniqueItems": True}}}}

    assert with_unique_items(schema) == schema
