"""Answers on a terminal, and the lines that follow them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.cli.fake_server import END, say
from tests.program import PROGRAM

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.fake_server import FakeServer, JsonObject

LOADING: JsonObject = {"status": "loading", "progress": 0.4, "done": False}
FAILURE: JsonObject = {"error": "out of luck"}

if sys.platform != "win32":
    from tests.cli.chatting.prompt.pty_screen import PtyScreen

    @pytest.mark.parametrize(
        ("answer", "shown", "code"),
        [
            ([LOADING, say("", "hmm"), say("Yes."), END], "hmm\n\nYes.", 0),
            ([LOADING, say("", "hmm\n"), say("Yes."), END], "hmm\n\nYes.", 0),
            ([say("Yes."), END], "Yes.", 0),
            ([LOADING, FAILURE], "error: out of luck", 6),
            ([say("Ye"), FAILURE], "Ye\nerror: out of luck", 6),
            ([say("", "hm"), FAILURE], "hm\nerror: out of luck", 6),
        ],
    )
    def test_what_follows_begins_a_line(
        server: FakeServer, tmp_path: Path, answer: list[JsonObject], shown: str, code: int
    ) -> None:
        server.script.answer = answer

        with _start(server, tmp_path) as terminal:
            terminal.wait_for(lambda screen: screen.startswith(shown))
            assert terminal.exit_status() == code
            assert terminal.screen() == shown

    def test_ctrl_c_while_a_model_loads_clears_the_bar(server: FakeServer, tmp_path: Path) -> None:
        server.script.answer, server.script.holds = [LOADING], True

        with _start(server, tmp_path) as terminal:
            terminal.wait_for("40 %")
            terminal.key("c-c")
            assert terminal.exit_status() == 130
            terminal.wait_for(lambda screen: not screen)

    def test_ctrl_c_ends_the_line_of_the_answer(server: FakeServer, tmp_path: Path) -> None:
        server.script.answer, server.script.holds = [say("Yes and")], True

        with _start(server, tmp_path) as terminal:
            terminal.wait_for("Yes and")
            terminal.key("c-c")
            assert terminal.exit_status() == 130
            terminal.wait_for("Yes and")
            terminal.wait_for(lambda _screen: terminal.cursor() == (1, 0))

    def _start(server: FakeServer, tmp_path: Path) -> PtyScreen:
        environ = {**server.environment(tmp_path), "TERM": "xterm", "LC_ALL": "C.UTF-8"}
        environ.pop("COLUMNS", None)
        return PtyScreen([*PROGRAM, "run", "guide", "why?"], environ)
