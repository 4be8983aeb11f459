from __future__ import annotations

import pytest

from localrun.integrations.edits import Edit, Item, ShapeError
from localrun.integrations.formats.yaml_edits import YamlError, edited_yaml

CONFIG = """\
# head
name: Mine  # kept
models:
{indent}- name: other   # foreign
{indent}  roles: ["chat"]
{indent}# tail of the list
"quoted": 'yes'
long: {long}
"""


@pytest.mark.parametrize("indent", ["", "  ", "    "])
def test_comments_order_quotes_and_indentation_stay(indent: str) -> None:
    text = CONFIG.format(indent=indent, long="word " * 40 + "end")
    edit = Edit(path=("models", Item("name", "ours")), value={"roles": ["edit"]})

    edited = edited_yaml(text, [edit])

    kept = [line for line in edited.splitlines() if line in text.splitlines()]
    assert kept == text.splitlines()
    assert f"{indent}- name: ours\n{indent}  roles:\n" in edited
    assert edited_yaml(edited, [edit]) == edited


def test_an_equal_file_is_the_same_text() -> None:
    text = "a:   1   \n\n\n\n# odd layout\nb: {x:  2}\n"

    assert edited_yaml(text, [Edit(path=("b", "x"), value=2)]) == text


def test_a_file_with_only_comments_keeps_them() -> None:
    edit = Edit(path=("a",), value=1)

    assert edited_yaml("# mine", [edit]) == "# mine\na: 1\n"
    assert edited_yaml("", [edit]) == "a: 1\n"


def test_a_scalar_is_replaced_by_an_object() -> None:
    edited = edited_yaml("model: ''\nx: 1\n", [Edit(path=("model",), value={"name": "a"})])

    assert edited == "model:\n  name: a\nx: 1\n"


def test_a_default_replaces_nothing() -> None:
    edit = Edit(path=("a",), value=2, is_default=True)

    assert edited_yaml("a: 1\n", [edit]) == "a: 1\n"


@pytest.mark.parametrize(
    "text",
    ["a: [1", "a: 1\na: 2\n", "--- 1\n--- 2\n", "\tx: 1", "a: &b [*b, *c]", "{" * 3000, "- \x00"],
)
def test_a_malformed_text_is_refused(text: str) -> None:
    with pytest.raises(YamlError):
        edited_yaml(text, [Edit(path=("a",), value=1)])


def test_another_type_on_the_path_is_refused() -> None:
    with pytest.raises(ShapeError):
        edited_yaml("a: 1\n", [Edit(path=("a", "b"), value=1)])
