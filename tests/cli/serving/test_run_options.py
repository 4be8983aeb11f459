from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from localrun.cli.serving.run_options import read_format
from localrun.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = {"type": "object", "properties": {"größe": {"type": "integer"}}}


def test_json_a_file_and_a_schema_are_formats(tmp_path: Path) -> None:
    file = tmp_path / "schema.json"
    file.write_text(json.dumps(SCHEMA, ensure_ascii=False), encoding="utf-8")

    assert read_format("json") == "json"
    assert read_format(str(file)) == SCHEMA
    assert read_format(json.dumps(SCHEMA)) == SCHEMA
    assert read_format("") is None
    assert read_format(None) is None


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("xml", "--format xml cannot be read"),
        ("{", "--format is not JSON"),
        ('{"a": ' * 5000, "--format is not JSON"),
    ],
)
def test_anything_else_is_refused_with_what_can_be_said(text: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint) as caught:
        read_format(text)

    assert "schema.json" in str(caught.value.hint)


def test_a_file_must_hold_an_object(tmp_path: Path) -> None:
    for name, content in (("list.json", b"[]"), ("bytes.json", b"\xff"), ("text.json", b"{")):
        (tmp_path / name).write_bytes(content)

        with pytest.raises(UsageError, match=name):
            read_format(str(tmp_path / name))
