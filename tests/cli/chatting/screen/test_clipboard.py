"""Text that is copied: by a program of the desktop, or by the terminal."""

from __future__ import annotations

import base64
import stat
import sys
from typing import TYPE_CHECKING

import pytest

from localrun.cli.chatting.screen.clipboard import MAX_OSC52_BYTES, copy_text
from localrun.cli.chatting.screen.diffs import MAX_LENGTH, MAX_LINES, render_diff
from localrun.cli.rendering.look import PLAIN_LOOK, TerminalLook
from localrun.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

TEXT = "a = 1\n世界\n"


def sequence(text: str) -> str:
    return f"\033]52;c;{base64.b64encode(text.encode()).decode()}\a"


def test_without_a_desktop_the_terminal_takes_the_text(tmp_path: Path) -> None:
    written: list[str] = []

    how = copy_text(TEXT, {"PATH": str(tmp_path)}, written.append)

    assert written == [sequence(TEXT)]
    assert "OSC 52" in how


def test_tmux_passes_the_sequence_on(tmp_path: Path) -> None:
    written: list[str] = []

    copy_text(TEXT, {"PATH": str(tmp_path), "TMUX": "x"}, written.append)

    passed_on = "\033Ptmux;" + sequence(TEXT).replace("\033", "\033\033") + "\033\\"
    assert written == [passed_on + sequence(TEXT)]


@pytest.mark.skipif(sys.platform == "win32", reason="a program in sh")
@pytest.mark.parametrize(("exit_code", "is_remote"), [(0, False), (1, False), (0, True)])
def test_a_program_of_the_desktop_takes_it_if_it_works_and_the_screen_is_here(
    tmp_path: Path, exit_code: int, *, is_remote: bool
) -> None:
    program = tmp_path / "wl-copy"
    program.write_text(f"#!/bin/sh\ncat > {tmp_path}/copied\nexit {exit_code}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    environ = {"PATH": f"{tmp_path}:/usr/bin:/bin", "WAYLAND_DISPLAY": "w"}
    written: list[str] = []

    how = copy_text(TEXT, environ | ({"SSH_TTY": "t"} if is_remote else {}), written.append)

    if exit_code or is_remote:
        assert written == [sequence(TEXT)]
    else:
        assert (written, how) == ([], "by wl-copy")
        assert (tmp_path / "copied").read_text() == TEXT


@pytest.mark.skipif(sys.platform == "win32", reason="a program in sh")
def test_the_program_of_windows_gets_its_encoding_also_in_its_subsystem_for_linux(
    tmp_path: Path,
) -> None:
    program = tmp_path / "clip.exe"
    program.write_text(f"#!/bin/sh\ncat > {tmp_path}/copied\n")
    program.chmod(0o755)

    copy_text(TEXT, {"PATH": f"{tmp_path}:/usr/bin:/bin"}, lambda _: None)

    assert (tmp_path / "copied").read_bytes() == TEXT.encode("utf-16-le")


def test_a_text_that_no_terminal_takes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="too many"):
        copy_text("x" * (MAX_OSC52_BYTES + 1), {"PATH": str(tmp_path)}, lambda _: None)


def test_differences_are_colored_bounded_and_harmless() -> None:
    diff = "--- a\n+++ b\n@@ -1 +1 @@\n-old\n+new\x1b[2J\n same\n"

    lines = list(render_diff(diff, TerminalLook()))

    assert lines[3:] == ["\033[31m-old\033[0m", "\033[32m+new?[2J\033[0m", " same"]
    assert list(render_diff("+a\n", PLAIN_LOOK)) == ["+a"]
    assert len(list(render_diff("+a\n" * 10_000, PLAIN_LOOK))) == MAX_LINES + 1


def test_differences_say_how_much_of_a_long_line_is_not_shown() -> None:
    (line,) = render_diff("+" + "a" * MAX_LENGTH + "rm -rf /\n", PLAIN_LOOK)

    assert line.endswith("a ... (9 more characters)")
