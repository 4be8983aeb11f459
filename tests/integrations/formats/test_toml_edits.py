from __future__ import annotations

import pytest

from localrun.integrations.edits import Edit, ShapeError
from localrun.integrations.formats.toml_edits import LONGEST_LINE, TomlError, edited_toml

CONFIG = """\
# head
model = "gpt-5" # mine
notify = ["a", "b"]

[projects."/x"]
trust_level = "trusted" # kept

[model_providers.other]
name = "other"
[tui]
theme = "x"
"""
EDITS = [
    Edit(path=("model",), value="coder"),
    Edit(path=("model_provider",), value="localrun"),
    Edit(path=("model_providers", "localrun"), value={"name": "localrun", "retries": 0}),
]


def test_comments_order_and_layout_stay() -> None:
    edited = edited_toml(CONFIG, EDITS)

    assert (
        edited
        == """\
# head
model = "coder" # mine
notify = ["a", "b"]
model_provider = "localrun"

[projects."/x"]
trust_level = "trusted" # kept

[model_providers.other]
name = "other"

[model_providers.localrun]
name = "localrun"
retries = 0

[tui]
theme = "x"
"""
    )
    assert edited_toml(edited, EDITS) == edited


def test_an_empty_file_gets_its_tables() -> None:
    edited = edited_toml("", EDITS)

    assert edited.startswith('model = "coder"\nmodel_provider = "localrun"\n')
    assert edited.endswith('[model_providers.localrun]\nname = "localrun"\nretries = 0\n')


def test_a_default_replaces_nothing() -> None:
    assert edited_toml("a = 1\n", [Edit(path=("a",), value=2, is_default=True)]) == "a = 1\n"


def test_true_is_not_one() -> None:
    assert edited_toml("a = 1\n", [Edit(path=("a",), value=True)]) == "a = true\n"


@pytest.mark.parametrize("text", ["a = ", "a = 1\na = 2\n", "[a", "x" * LONGEST_LINE + "= 1"])
def test_a_malformed_text_is_refused(text: str) -> None:
    with pytest.raises(TomlError):
        edited_toml(text, EDITS)


def test_another_type_on_the_path_is_refused() -> None:
    with pytest.raises(ShapeError):
        edited_toml("model_providers = 1\n", EDITS)
