from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from localrun.agent.toolbox import Effect, Toolbox, ToolError
from localrun.agent.tools.diffs import num_changed, unified_diff
from localrun.agent.tools.editing import FileEditor
from localrun.agent.tools.folder import WorkFolder
from tests.agent.tools.calls import call

if TYPE_CHECKING:
    from pathlib import Path

TEXT = "one\ntwo\nthree\ntwo\nend\n"


@pytest.fixture
def box(tmp_path: Path) -> Toolbox:
    (tmp_path / "a.txt").write_text(TEXT)
    editor = FileEditor(WorkFolder(tmp_path))
    return Toolbox(editor.tools(), undo_edit=editor.undo)


def test_an_edit_is_shown_before_it_is_done(box: Toolbox, tmp_path: Path) -> None:
    arguments = {"path": "a.txt", "old_text": "three\n", "new_text": "3\n"}

    diff = box.preview("edit_file", arguments)

    assert diff == (
        "--- a/a.txt\n+++ b/a.txt\n@@ -1,5 +1,5 @@\n one\n two\n-three\n+3\n two\n end\n"
    )
    assert (tmp_path / "a.txt").read_text() == TEXT
    result = call(box, "edit_file", **arguments)
    assert result.diff == diff
    assert (tmp_path / "a.txt").read_text() == TEXT.replace("three", "3")
    assert all(tool.effect is Effect.EDIT for tool in box.tools)


@pytest.mark.parametrize(
    ("old", "message"), [("two", "2 times"), ("four", "does not occur"), ("", "empty")]
)
def test_a_text_that_does_not_occur_once_is_not_replaced(
    box: Toolbox, tmp_path: Path, old: str, message: str
) -> None:
    result = call(box, "edit_file", path="a.txt", old_text=old, new_text="x")

    assert result.is_error
    assert message in result.text
    assert (tmp_path / "a.txt").read_text() == TEXT


def test_lines_keep_their_carriage_returns(box: Toolbox, tmp_path: Path) -> None:
    (tmp_path / "dos.txt").write_bytes(b"a\r\nb\r\nc\r\n")

    call(box, "edit_file", path="dos.txt", old_text="a\nb", new_text="x\ny")

    assert (tmp_path / "dos.txt").read_bytes() == b"x\r\ny\r\nc\r\n"


def test_edits_are_undone_in_reverse(box: Toolbox, tmp_path: Path) -> None:
    call(box, "edit_file", path="a.txt", old_text="one", new_text="1")
    call(box, "create_file", path="new/b.txt", content="b")

    assert box.undo() == "removed new/b.txt, which was created"
    assert box.undo() == "undid the edit of a.txt"
    assert box.undo() is None
    assert (tmp_path / "a.txt").read_text() == TEXT
    assert not (tmp_path / "new" / "b.txt").exists()


def test_a_file_that_has_changed_since_is_not_undone(box: Toolbox, tmp_path: Path) -> None:
    call(box, "edit_file", path="a.txt", old_text="one", new_text="1")
    (tmp_path / "a.txt").write_text("mine")

    with pytest.raises(ToolError, match="changed"):
        box.undo()

    assert (tmp_path / "a.txt").read_text() == "mine"


@pytest.mark.parametrize("path", ["../b.txt", "/b.txt", ".git/hooks/pre-commit", "a.txt"])
def test_a_file_is_created_only_below_the_folder_where_none_is(
    box: Toolbox, tmp_path: Path, path: str
) -> None:
    assert call(box, "create_file", path=path, content="x").is_error
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.txt"]


def test_a_created_file_is_shown_as_added_lines(box: Toolbox) -> None:
    diff = box.preview("create_file", {"path": "b.txt", "content": "x\ny\n"})

    assert diff == "--- /dev/null\n+++ b/b.txt\n@@ -0,0 +1,2 @@\n+x\n+y\n"
    assert num_changed(diff) == (2, 0)


def test_a_diff_has_three_lines_of_context() -> None:
    before = "".join(f"{number}\n" for number in range(1, 21))

    diff = unified_diff("x", before, before.replace("10\n", "ten\nmore\n"))

    assert diff.split("\n")[2:] == [
        "@@ -7,7 +7,8 @@", " 7", " 8", " 9", "-10", "+ten", "+more", " 11", " 12", " 13", "",
    ]  # fmt: skip
