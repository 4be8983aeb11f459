from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from localrun.agent.toolbox import ToolError
from localrun.agent.tools import reading
from localrun.agent.tools.folder import WorkFolder
from localrun.agent.tools.reading import list_folder, read_file, search

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> WorkFolder:
    (tmp_path / "a.txt").write_text("".join(f"line {number}\n" for number in range(1, 31)))
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "main.py").write_text("import os\nprint('Needle')\n")
    (tmp_path / "code" / "main.c").write_text("needle\n")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "x.py").write_text("needle")
    (tmp_path / "binary").write_bytes(b"needle\0")
    return WorkFolder(tmp_path)


def search_in(folder: WorkFolder, **arguments: object) -> str:
    return search(folder, arguments, threading.Event()).text


def test_lines_of_a_file_are_read_with_their_numbers(folder: WorkFolder) -> None:
    result = read_file(folder, {"path": "a.txt", "first_line": 3, "num_lines": 2})

    assert result.text == "a.txt, lines 3-4 of 30:\nline 3\nline 4"
    assert read_file(folder, {"path": "a.txt", "first_line": 99}).text == "a.txt has 30 lines."


def test_binary_files_are_refused(folder: WorkFolder) -> None:
    with pytest.raises(ToolError, match="binary"):
        read_file(folder, {"path": "binary"})


@pytest.mark.parametrize("arguments", [{}, {"path": 3}, {"path": "a.txt", "x": 1}])
def test_wrong_arguments_are_named(folder: WorkFolder, arguments: dict[str, object]) -> None:
    with pytest.raises(ToolError, match=r"argument|Argument"):
        read_file(folder, arguments)


def test_a_list_shows_folders_links_and_sizes(folder: WorkFolder) -> None:
    (folder.root / "link").symlink_to("/etc")

    lines = list_folder(folder, {}).text.split("\n")

    assert lines == [
        ".git/",
        "a.txt (231 bytes)",
        "binary (7 bytes)",
        "code/",
        "link (symbolic link, not followed)",
    ]


def test_a_long_list_is_cut(folder: WorkFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_ENTRIES", 2)

    assert list_folder(folder, {}).text.endswith("[2 more]")


def test_a_search_finds_lines_in_text_files_outside_of_version_control(folder: WorkFolder) -> None:
    assert search_in(folder, text="needle") == "code/main.c:1: needle"
    assert search_in(folder, text="needle", ignore_case=True).split("\n") == [
        "code/main.c:1: needle",
        "code/main.py:2: print('Needle')",
    ]
    assert search_in(folder, text="needle", files="*.py") == "No line contains this text."
    assert search_in(folder, text="line 3", path="a.txt").split("\n")[0] == "a.txt:3: line 3"


def test_a_search_follows_no_links(
    folder: WorkFolder, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "x.txt").write_text("elsewhere")
    (folder.root / "link").symlink_to(outside)

    assert search_in(folder, text="elsewhere") == "No line contains this text."


def test_a_search_ends_at_its_limits_and_when_it_is_cancelled(
    folder: WorkFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    cancel = threading.Event()
    cancel.set()

    assert "No line" in search(folder, {"text": "needle"}, cancel).text
    monkeypatch.setattr(reading, "MAX_MATCHES", 5)
    result = search_in(folder, text="line")
    assert result.count("a.txt:") == 5
    assert "ended at its limit" in result
