from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from localrun.agent.toolbox import ToolError
from localrun.agent.tools import folder as folder_module
from localrun.agent.tools.folder import WorkFolder
from tests.unix_calls import make_pipe

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "a.txt").write_text("inside")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "a.txt").write_text("outside")
    return folder


def test_a_file_is_read_by_its_relative_and_its_absolute_path(root: Path) -> None:
    folder = WorkFolder(root)

    assert folder.read("sub/a.txt") == b"inside"
    assert folder.read("./sub//a.txt") == b"inside"
    assert folder.read(str(root / "sub" / "a.txt")) == b"inside"


@pytest.mark.parametrize(
    "path", ["../secret/a.txt", "sub/../../secret/a.txt", "/etc/passwd", "sub/..", "a\0b", "a\nb"]
)
def test_a_path_out_of_the_folder_is_refused(root: Path, path: str) -> None:
    folder = WorkFolder(root)

    with pytest.raises(ToolError):
        folder.read(path)
    with pytest.raises(ToolError):
        folder.write(path, b"x", is_new=True)


def test_links_are_not_followed(root: Path) -> None:
    (root / "file").symlink_to(root.parent / "secret" / "a.txt")
    (root / "folder").symlink_to(root.parent / "secret")
    folder = WorkFolder(root)

    for path in ("file", "folder/a.txt"):
        with pytest.raises(ToolError):
            folder.read(path)
    with pytest.raises(ToolError):
        folder.write("folder/new.txt", b"x", is_new=True)
    with pytest.raises(ToolError):
        folder.write("file", b"x", is_new=False)
    assert (root.parent / "secret" / "a.txt").read_text() == "outside"
    assert not (root.parent / "secret" / "new.txt").exists()


def test_a_folder_that_is_swapped_for_a_link_while_it_is_open_leads_nowhere(root: Path) -> None:
    folder = WorkFolder(root)

    with folder.open_folder(("sub",), "sub/a.txt") as opened:
        (root / "sub").rename(root / "old")
        (root / "sub").symlink_to(root.parent / "secret")
        data = folder.read_in(opened, ("sub", "a.txt"), "sub/a.txt")

    assert data == b"inside"
    with pytest.raises(ToolError):
        folder.read("sub/a.txt")


def test_a_write_into_a_swapped_folder_stays_in_the_folder(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = WorkFolder(root)
    replace = os.replace

    def swap_then_replace(source: str, target: str, **descriptors: Any) -> None:
        (root / "sub").rename(root / "old")
        (root / "sub").symlink_to(root.parent / "secret")
        replace(source, target, **descriptors)

    monkeypatch.setattr(os, "replace", swap_then_replace)
    folder.write("sub/a.txt", b"changed", is_new=False)

    assert (root.parent / "secret" / "a.txt").read_text() == "outside"
    assert (root / "old" / "a.txt").read_text() == "changed"


def test_devices_fifos_and_huge_files_are_refused(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_pipe(root / "fifo")
    (root / "huge").write_bytes(b"x" * 101)
    monkeypatch.setattr(folder_module, "LARGEST_FILE", 100)
    folder = WorkFolder(root)

    for path in ("fifo", "huge", "sub", "."):
        with pytest.raises(ToolError):
            folder.read(path)
    with pytest.raises(ToolError):
        folder.write("fifo", b"x", is_new=False)


@pytest.mark.parametrize("path", [".git/hooks/x", ".GIT/config", "sub/.git/x", ".hg/x", ".git"])
def test_files_of_version_control_are_not_written(root: Path, path: str) -> None:
    with pytest.raises(ToolError, match="version control"):
        WorkFolder(root).write(path, b"x", is_new=True)


def test_a_new_file_gets_its_folders_and_replaces_nothing(root: Path) -> None:
    folder = WorkFolder(root)

    folder.write("new/deep/a.txt", b"x", is_new=True)

    assert (root / "new" / "deep" / "a.txt").read_bytes() == b"x"
    with pytest.raises(ToolError, match="exists"):
        folder.write("sub/a.txt", b"x", is_new=True)
    with pytest.raises(ToolError, match="does not exist"):
        folder.write("missing.txt", b"x", is_new=False)
    assert sorted(each.name for each in (root / "sub").iterdir()) == ["a.txt"]


def test_an_edit_keeps_the_mode_of_a_file(root: Path) -> None:
    (root / "sub" / "a.txt").chmod(0o755)

    WorkFolder(root).write("sub/a.txt", b"x", is_new=False)

    assert (root / "sub" / "a.txt").stat().st_mode & 0o777 == 0o755
