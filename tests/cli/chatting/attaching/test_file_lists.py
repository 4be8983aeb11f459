"""Text files of folders and globs."""

from __future__ import annotations

from pathlib import Path

import pytest

from localrun.cli.chatting.attaching import file_lists
from localrun.cli.chatting.attaching.file_lists import list_files
from localrun.errors import NotFoundError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    for name in ("a.py", "b.txt", "src/c.py", "src/deep/d.py", ".hidden", ".git/config"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"text of {name}\n")
    (root / "program").write_bytes(b"\x7fELF\0\0")
    (root / "node_modules").mkdir()
    return root


def names(path: Path, root: Path) -> list[str]:
    return [str(one.relative_to(root)) for one in list_files(path).files]


def test_a_folder_is_its_text_files(folder: Path) -> None:
    listed = list_files(folder)

    assert names(folder, folder) == ["a.py", "b.txt", "src/c.py", "src/deep/d.py"]
    assert listed.num_left_out == 4
    assert listed.question == "Add 4 files (66 B, 4 left out)?"


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.py", ["a.py"]),
        ("**/*.py", ["a.py", "src/c.py", "src/deep/d.py"]),
        ("src/*", ["src/c.py"]),
        ("src/**", ["src/c.py", "src/deep/d.py"]),
        ("*/deep/?.py", ["src/deep/d.py"]),
        ("[ab].*", ["a.py", "b.txt"]),
    ],
)
def test_a_pattern_is_the_files_that_match(folder: Path, pattern: str, expected: list[str]) -> None:
    assert names(folder / pattern, folder) == expected


@pytest.mark.parametrize("pattern", ["*.rs", "gone/*.py", "gone"])
def test_nothing_found_is_an_error(folder: Path, pattern: str) -> None:
    with pytest.raises(NotFoundError):
        list_files(folder / pattern)


def test_a_name_with_brackets_is_no_pattern(folder: Path) -> None:
    (folder / "[x]").mkdir()
    (folder / "[x]" / "e.txt").write_text("text")

    assert names(folder / "[x]", folder) == ["[x]/e.txt"]


def test_links_out_of_the_folder_are_left_out(folder: Path) -> None:
    (folder.parent / "secret.txt").write_text("secret")
    (folder.parent / "others").mkdir()
    (folder.parent / "others" / "f.txt").write_text("secret")
    (folder / "link.txt").symlink_to(folder.parent / "secret.txt")
    (folder / "inside.txt").symlink_to(folder / "a.py")
    (folder / "others").symlink_to(folder.parent / "others")
    (folder / "loop").symlink_to(folder)

    assert names(folder, folder) == ["a.py", "b.txt", "inside.txt", "src/c.py", "src/deep/d.py"]


@pytest.mark.parametrize(
    ("bound", "value", "expected"),
    [
        ("MAX_FILES", 2, ["a.py", "b.txt"]),
        ("MAX_BYTES", 30, ["a.py", "b.txt"]),
        ("MAX_DEPTH", 0, ["a.py", "b.txt"]),
    ],
)
def test_the_list_is_bounded(
    folder: Path, monkeypatch: pytest.MonkeyPatch, bound: str, value: int, expected: list[str]
) -> None:
    monkeypatch.setattr(file_lists, bound, value)

    assert names(folder, folder) == expected
    assert list_files(folder).is_cut is (bound != "MAX_DEPTH")


def test_a_huge_folder_is_looked_at_in_part(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_lists, "MAX_ENTRIES", 3)

    assert list_files(folder).is_cut


def test_a_hostile_pattern_ends(folder: Path) -> None:
    with pytest.raises(NotFoundError):
        list_files(folder / Path(*["**"] * 200) / ("*a" * 100))
