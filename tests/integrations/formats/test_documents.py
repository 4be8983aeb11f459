from __future__ import annotations

import pytest

from localrun.errors import LocalrunError, UsageError
from localrun.integrations.edits import Edit
from localrun.integrations.formats import documents
from localrun.integrations.formats.documents import FileFormat, edited_document

EDIT = Edit(path=("a",), value=1)


@pytest.mark.parametrize(
    ("text", "file_format"),
    [
        ("[a" + ".b" * 3900 + "]\n", FileFormat.TOML),
        ("a = " + "[" * 5000, FileFormat.TOML),
        ("[" * 5000, FileFormat.YAML),
        ("&a [*a," * 500, FileFormat.YAML),
        ("[" * 5000, FileFormat.JSON),
    ],
)
def test_too_many_levels_are_refused(text: str, file_format: FileFormat) -> None:
    with pytest.raises(UsageError):
        edited_document(text, file_format, [EDIT])


@pytest.mark.parametrize("text", ["x: 1\r\ny: 2\n", "x: 1\ry: 2\r"])
def test_mixed_line_ends_are_refused_where_they_would_change(text: str) -> None:
    with pytest.raises(UsageError, match="line ends"):
        edited_document(text, FileFormat.YAML, [EDIT])


def test_mixed_line_ends_of_json_stay() -> None:
    edited = edited_document('{\r\n"x": 1,\n"a": 2\r\n}', FileFormat.JSON, [EDIT])

    assert edited == '{\r\n"x": 1,\n"a": 1\r\n}'


def test_an_edit_that_would_change_something_else_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A flaw of a library is found before anything is written."""
    monkeypatch.setitem(documents.EDITED, FileFormat.TOML, lambda *_: "a = 1\n")

    with pytest.raises(LocalrunError, match="other settings"):
        edited_document("b = 2\n", FileFormat.TOML, [EDIT])
