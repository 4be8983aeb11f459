from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localrun.integrations.formats.jsonc import MAX_DEPTH, JsoncError, parse_jsonc

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(JSON_VALUES, st.sampled_from([None, 2, "\t"]))
def test_json_is_read_as_json(value: object, indent: int | str | None) -> None:
    root = parse_jsonc(json.dumps(value, indent=indent, ensure_ascii=False))

    assert root is not None
    assert root.decoded() == value


def test_comments_and_trailing_commas_are_skipped() -> None:
    root = parse_jsonc('// a\n{ /* b */ "x": [1, 2,], // c\n "y": "//", }\n/* d */')

    assert root is not None
    assert root.decoded() == {"x": [1, 2], "y": "//"}


def test_keys_and_strings_of_json5_are_read() -> None:
    root = parse_jsonc("{ a: 'it\\'s \"so\"', $b1: null }")

    assert root is not None
    assert root.decoded() == {"a": 'it\'s "so"', "$b1": None}


@pytest.mark.parametrize("text", ["", " \n", "// nothing", "/* nothing */\n"])
def test_a_text_without_a_value_has_no_root(text: str) -> None:
    assert parse_jsonc(text) is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"a": 1', "line 1"),
        ('{\n"a" 1}', "line 2"),
        ('{"a": 1 "b": 2}', "comma"),
        ('{"a": "x\ny"}', "string"),
        ('{"a": /* }', "comment"),
        ("[1, 2] 3", "goes on"),
        ("[,]", "value"),
        ("{,}", "key"),
        ('["\\x"]', "escape"),
        ("[01]", "value"),
        ("nope", "value"),
        ("[" * 1000, "levels"),
        ("9" * 1000, "value"),
    ],
)
def test_a_malformed_text_is_refused_with_its_line(text: str, reason: str) -> None:
    with pytest.raises(JsoncError, match=reason):
        parse_jsonc(text)


def test_the_deepest_nesting_is_read() -> None:
    assert parse_jsonc("[" * MAX_DEPTH + "]" * MAX_DEPTH) is not None
