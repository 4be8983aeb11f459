from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localrun.integrations.edits import Edit, Item, ShapeError, applied
from localrun.integrations.formats.jsonc_edits import decoded_jsonc, edited_jsonc

KEYS = st.sampled_from(["a", "b", "c d", "é"])
LEAVES = st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=10,
)
SETTINGS = """\
// head
{
    "theme": "dark", // mine
    /* fonts */ "size": 14,
    "list": [1, 2, 3,], // kept
    "inline": {"x": 1},
    "models": [
        {"name": "other", "url": "x"}, // foreign
    ], // end
    // tail
}
"""


def test_only_the_edited_values_change() -> None:
    edits = [
        Edit(path=("size",), value=15),
        Edit(path=("models", Item("name", "ours")), value={"url": "y"}),
        Edit(path=("inline", "z"), value=True),
        Edit(path=("new", "deep"), value="v"),
    ]

    assert (
        edited_jsonc(SETTINGS, edits)
        == """\
// head
{
    "theme": "dark", // mine
    /* fonts */ "size": 15,
    "list": [1, 2, 3,], // kept
    "inline": {"x": 1, "z": true},
    "models": [
        {"name": "other", "url": "x"}, // foreign
        {
            "name": "ours",
            "url": "y"
        },
    ], // end
    "new": {
        "deep": "v"
    },
    // tail
}
"""
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", '{\n  "k": 1\n}\n'),
        ("{}", '{\n  "k": 1\n}'),
        ("{ }\n", '{\n  "k": 1\n}\n'),
        ("// c", '// c\n{\n  "k": 1\n}\n'),
        ("{ // c\n}", '{ // c\n  "k": 1\n}'),
        ('{"a": 1}', '{"a": 1, "k": 1}'),
        ('{"a": 1,}', '{"a": 1, "k": 1,}'),
        ('{\n\t"a": 1\n}', '{\n\t"a": 1,\n\t"k": 1\n}'),
        ('{\r\n  "a": 1\r\n}\r\n', '{\r\n  "a": 1,\r\n  "k": 1\r\n}\r\n'),
        ('{\n  "a": 1 // x\n}', '{\n  "a": 1, // x\n  "k": 1\n}'),
        ('{\n  "a": 1\n  // x\n}', '{\n  "a": 1,\n  "k": 1\n  // x\n}'),
        ('{\n  "k": 2, // x\n}', '{\n  "k": 1, // x\n}'),
        ('{"k": 0, "k": 2}', '{"k": 0, "k": 1}'),
    ],
)
def test_a_key_goes_where_its_neighbours_are(text: str, expected: str) -> None:
    assert edited_jsonc(text, [Edit(path=("k",), value=1)]) == expected


def test_a_list_at_the_root_gets_an_item() -> None:
    edit = Edit(path=(Item("name", "x"),), value={"v": 1})

    assert json.loads(edited_jsonc("", [edit])) == [{"name": "x", "v": 1}]
    assert json.loads(edited_jsonc('[{"name": "y"}]', [edit])) == [
        {"name": "y"},
        {"name": "x", "v": 1},
    ]


def test_a_default_replaces_nothing() -> None:
    edit = Edit(path=("a",), value=2, is_default=True)

    assert edited_jsonc('{"a": 1}', [edit]) == '{"a": 1}'


def test_true_is_not_one() -> None:
    assert edited_jsonc('{"a": 1}', [Edit(path=("a",), value=True)]) == '{"a": true}'


@pytest.mark.parametrize(
    ("text", "path"),
    [('{"a": 1}', ("a", "b")), ("[]", ("a",)), ('{"a": {}}', ("a", Item("x", "y")))],
)
def test_another_type_on_the_path_is_refused(text: str, path: tuple[Any, ...]) -> None:
    with pytest.raises(ShapeError):
        edited_jsonc(text, [Edit(path=path, value={})])


@given(
    tree=st.dictionaries(KEYS, TREES, max_size=3),
    path=st.lists(KEYS, min_size=1, max_size=3),
    value=TREES,
    indent=st.sampled_from([None, 2, "\t"]),
)
def test_the_text_decodes_to_the_edited_value(
    tree: dict[str, Any], path: list[str], value: Any, indent: int | str | None
) -> None:
    """Law: decoding commutes with editing, and a second edit changes nothing."""
    text, edit = json.dumps(tree, indent=indent), Edit(path=tuple(path), value=value)
    try:
        expected = applied(tree, [edit])
    except ShapeError:
        with pytest.raises(ShapeError):
            edited_jsonc(text, [edit])
        return

    edited = edited_jsonc(text, [edit])

    assert json.dumps(decoded_jsonc(edited), sort_keys=True) == json.dumps(expected, sort_keys=True)
    assert edited_jsonc(edited, [edit]) == edited
