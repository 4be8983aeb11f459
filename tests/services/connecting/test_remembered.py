from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from localrun.services.connecting.remembered import (
    connections_folder,
    remember_model,
    remembered_model,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "localrun.services.connecting.remembered.state_folder", lambda: tmp_path / "state"
    )


def test_each_tool_has_its_own_model() -> None:
    remember_model("codex", "a")
    remember_model("zed", "b")
    remember_model("codex", "c")

    assert (remembered_model("codex"), remembered_model("zed")) == ("c", "b")
    assert remembered_model("aider") is None


@pytest.mark.parametrize("text", ["", "no json", "[]", '{"format_version": 1, "models": 3}', "{}"])
def test_a_damaged_file_is_forgotten(text: str) -> None:
    connections_folder().mkdir(parents=True)
    (connections_folder() / "models.json").write_text(text)

    assert remembered_model("codex") is None
    remember_model("codex", "a")
    assert remembered_model("codex") == "a"


def test_a_folder_that_cannot_be_written_is_no_error() -> None:
    connections_folder().parent.write_text("a file in its place")

    remember_model("codex", "a")

    assert remembered_model("codex") is None
