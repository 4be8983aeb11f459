from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from localrun.cli.chatting.prompt.completion import path_candidates as module
from localrun.cli.chatting.prompt.completion.path_candidates import path_candidates

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="paths with slashes")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("src/main.py", "src/map.txt", "Makefile", "my notes.md", ".hidden/x", "b\x07l"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return tmp_path


def texts(typed: str, folder: Path) -> list[str]:
    return [each.text for each in path_candidates(typed, folder)]


def test_folders_come_first_and_hidden_names_only_if_typed(folder: Path) -> None:
    assert texts("", folder) == ["src/", "Makefile", "my notes.md"]
    assert texts(".", folder) == [".hidden/"]


def test_a_name_is_found_by_its_beginning_in_any_case(folder: Path) -> None:
    assert texts("m", folder) == ["Makefile", "my notes.md"]
    assert texts("src/ma", folder) == ["src/main.py", "src/map.txt"]


def test_an_absolute_path_and_the_home_folder_are_completed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(folder))

    assert texts(f"{folder}/s", folder / "src") == [f"{folder}/src/"]
    assert texts("~/s", folder / "src") == ["~/src/"]
    assert texts("~", folder) == ["~/"]


def test_a_folder_that_is_missing_has_no_completions(folder: Path) -> None:
    assert texts("gone/x", folder) == []


def test_a_huge_folder_costs_little(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SCANNED", 2)

    assert len(texts("", folder)) <= 2
