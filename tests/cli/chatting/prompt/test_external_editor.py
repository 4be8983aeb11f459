from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from localrun.cli.chatting.prompt.external_editor import edit_text
from localrun.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path


def editor(folder: Path, code: str) -> dict[str, str]:
    """Return an environment whose editor is a Python program; its file is ``path``."""
    program = folder / "my editor.py"
    program.write_text(f"import sys, pathlib\npath = pathlib.Path(sys.argv[-1])\n{code}\n")
    return {"VISUAL": f'"{sys.executable}" "{program}" --wait', "EDITOR": "never"}


def test_the_editor_gets_the_text_and_what_it_saves_comes_back(tmp_path: Path) -> None:
    environ = editor(tmp_path, "path.write_text(path.read_text().upper() + 'more\\n')")

    assert edit_text("héllo\nthere", environ) == "HÉLLO\nTHERE\nmore"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has access lists in place of modes")
def test_nobody_else_can_read_the_file(tmp_path: Path) -> None:
    environ = editor(tmp_path, "path.write_text(oct(path.parent.stat().st_mode & 0o777))")

    assert edit_text("", environ) == "0o700"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("sys.exit(3)", "failed with exit code 3"),
        ("path.unlink()", "removed the file"),
        ("path.write_bytes(b'\\xff')", "not UTF-8"),
    ],
)
def test_an_editor_that_fails_is_an_error(tmp_path: Path, code: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        edit_text("text", editor(tmp_path, code))


@pytest.mark.parametrize("command", ["/no/such/editor", 'an "open quote'])
def test_an_editor_that_does_not_start_is_an_error(command: str) -> None:
    with pytest.raises(UsageError, match=r"editor|EDITOR"):
        edit_text("text", {"EDITOR": command})
