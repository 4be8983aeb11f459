from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from localrun.cli.serving.run_options import check_model, check_use, read_format
from localrun.errors import UsageError
from localrun.services.workspace import open_workspace

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


def test_a_chat_refuses_what_only_one_answer_has() -> None:
    options: dict[str, object] = {"--output": None, "--json": True}

    check_use(is_chat=False, of_chat={"--chat": None}, of_prompt=options)
    with pytest.raises(UsageError, match="--json needs a prompt"):
        check_use(is_chat=True, of_chat={}, of_prompt=options)


def test_an_embedder_refuses_what_only_text_has(tmp_path: Path) -> None:
    models = open_workspace({"HOME": str(tmp_path), "LOCALRUN_MODELS": str(tmp_path)}).models
    guide = models.find_model("guide")

    check_model(guide, embeds=True, of_text={"--file": []}, of_vectors={"--dimensions": 3})
    with pytest.raises(UsageError, match="--file needs a model that writes text"):
        check_model(guide, embeds=True, of_text={"--file": ["a.txt"]}, of_vectors={})
