"""Moments at which chats break: Ctrl-C everywhere, broken editors, narrow screens, no chat yet."""

from __future__ import annotations

import sys

import pytest

assert sys.platform != "win32"

from typing import TYPE_CHECKING

from tests.cli.chatting.prompt.pty_screen import PtyScreen
from tests.cli.fake_server import END, FakeServer, say
from tests.program import PROGRAM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Start = Callable[..., PtyScreen]

STATE = {"name": "guide:latest", "context": 1000, "size_bytes": 5, "size_gpu_bytes": 0}
TOOLBAR = "1,000 tokens"
FENCE = "```python\nprint(1)\n"


@pytest.fixture
def environ(server: FakeServer, tmp_path: Path) -> dict[str, str]:
    server.script.running = [STATE]
    made = {**server.environment(tmp_path), "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
    made.pop("COLUMNS", None)
    return made


@pytest.fixture
def start(environ: dict[str, str]) -> Iterator[Start]:
    """Return a function that starts a chat and waits for a text on its screen."""
    started: list[PtyScreen] = []

    def begin(
        *options: str, shows: str = TOOLBAR, columns: int = 80, lines: int = 24, **more: str
    ) -> PtyScreen:
        command = [*PROGRAM, "run", *(options or ("guide",))]
        screen = PtyScreen(command, {**environ, **more}, columns=columns, lines=lines)
        started.append(screen)
        screen.wait_for(shows)
        return screen

    yield begin
    for screen in started:
        screen.__exit__()


def goes_on(screen: PtyScreen, server: FakeServer) -> None:
    """Check that the chat answers the next message, and leaves the terminal as it was."""
    server.script.answer, server.script.holds = [say("It goes on."), END], False
    screen.type("next\r")
    screen.wait_for("It goes on.")
    screen.wait_for("30 of 1,000 tokens")
    screen.type("/bye\r")
    assert screen.exit_status() == 0
    assert all(screen.local_modes().values())


@pytest.mark.parametrize(
    ("frames", "shown"),
    [
        ([], "one"),
        ([say("", thinking="Hmm")], "Hmm"),
        ([say("", thinking="Hmm"), say("Ha! ")], "Ha!"),
        ([say("Half an answer ")], "Half an"),
        ([say("# Head\n\n| a | b |\n|---|---|\n| c ")], "Head"),
        ([say(f"Look:\n\n{FENCE}")], "print(1)"),
        ([say("* one\n* two\n"), say("\x1b[31mred ")], "two"),
        ([{"status": "loading", "progress": 0.5}], "loading"),
    ],
)
def test_ctrl_c_during_an_answer(
    start: Start, server: FakeServer, frames: list[dict[str, object]], shown: str
) -> None:
    screen = start()
    server.script.answer, server.script.holds = list(frames), True
    screen.type("one\r")
    screen.wait_for(shown)

    screen.key("c-c")

    screen.wait_for("(stopped)")
    goes_on(screen, server)


def test_ctrl_c_again_and_again_during_an_answer(start: Start, server: FakeServer) -> None:
    screen = start()
    server.script.answer, server.script.holds = [say("Half an answer ")], True
    screen.type("one\r")
    screen.wait_for("Half an")

    screen.type("\x03" * 2)

    screen.wait_for("(stopped)")
    screen.wait_for(">>> ")
    screen.type("x")
    screen.wait_for(">>> x")
    screen.key("backspace")
    goes_on(screen, server)


def test_ctrl_c_right_behind_a_message_stops_its_answer_and_keeps_it_for_retry(
    start: Start, server: FakeServer
) -> None:
    screen = start()

    screen.type("one\r\x03")
    screen.wait_for("(stopped)")
    server.script.heard.clear()
    screen.type("/retry\r")

    screen.wait_for("Hello.")
    assert [one["content"] for one in server.script.heard[-1]["messages"]] == ["one"]
    goes_on(screen, server)


def test_ctrl_c_in_a_typed_line_empties_it(start: Start, server: FakeServer) -> None:
    screen = start()
    screen.type("something")
    screen.wait_for(">>> something")

    screen.key("c-c")

    screen.wait_for(lambda shown: ">>> something" not in shown)
    goes_on(screen, server)


def test_ctrl_c_in_the_search_of_the_history(start: Start, server: FakeServer) -> None:
    screen = start()
    screen.key("c-r")
    screen.type("abc")
    screen.wait_for("abc")

    screen.key("c-c")

    screen.wait_for(lambda shown: "abc" not in shown)
    goes_on(screen, server)


def test_ctrl_c_at_a_question_refuses(start: Start, server: FakeServer) -> None:
    screen = start()
    screen.type("/save guide\r")
    screen.wait_for("Replace it?")

    screen.key("c-c")

    screen.wait_for("Nothing was saved.")
    goes_on(screen, server)


def test_ctrl_c_during_a_compaction_keeps_the_conversation(
    start: Start, server: FakeServer
) -> None:
    screen = start()
    for text in ("one", "two", "three"):
        screen.type(f"{text}\r")
        screen.wait_for(f">>> {text}\nHello.\n")
        screen.wait_for("30 of 1,000 tokens")
    server.script.answer, server.script.holds = [say("A summ")], True
    screen.type("/compact\r")
    screen.wait_for("compacting")

    screen.key("c-c")

    screen.wait_for("(stopped)")
    goes_on(screen, server)
    texts = [one["content"] for one in server.script.heard[-1]["messages"]]
    assert texts == ["one", "Hello.", "two", "Hello.", "three", "Hello.", "next"]


def test_ctrl_c_while_the_model_loads_ends_the_program(start: Start, server: FakeServer) -> None:
    server.script.load_signs = server.script.answer = [{"status": "loading", "progress": 0.5}]
    server.script.load_signs[0]["done"] = False
    server.script.holds = True
    screen = start(shows="loading")

    screen.key("c-c")

    assert screen.exit_status() == 130
    assert all(screen.local_modes().values())


@pytest.mark.parametrize("options", [("-c",), ("--chat", "abc")])
def test_going_on_with_no_kept_chat_says_what_to_type(
    start: Start, options: tuple[str, ...]
) -> None:
    screen = start(*options, shows="hint: ")

    assert screen.exit_status() == 3
    assert "error: " in screen.screen()
    assert "Traceback" not in screen.screen()


@pytest.mark.parametrize("editor", ["false", "no-such-editor", "sh -c 'kill -9 $$'", ""])
@pytest.mark.parametrize("way", ["key", "command"])
def test_an_editor_that_fails_costs_nothing(
    start: Start, server: FakeServer, editor: str, way: str
) -> None:
    if not editor:
        editor = "' unclosed"
    screen = start(EDITOR=editor, VISUAL="")
    screen.type("typed" if way == "key" else "/edit typed\r")
    if way == "key":
        screen.wait_for(">>> typed")
        screen.key("c-g")

    screen.wait_for("error: ")
    if way == "key":
        screen.wait_for(lambda shown: shown.count(">>> typed") > 0)
        screen.key("c-c")
        screen.wait_for(lambda shown: ">>> typed" not in shown.splitlines()[-3:])
    goes_on(screen, server)


def test_an_editor_that_writes_no_text_sends_nothing(
    start: Start, server: FakeServer, tmp_path: Path
) -> None:
    script = tmp_path / "editor"
    script.write_text('#!/bin/sh\nprintf "\\377\\000" > "$1"\n')
    script.chmod(0o755)
    screen = start(EDITOR=str(script), VISUAL="")

    screen.type("/edit typed\r")

    screen.wait_for(lambda shown: "error: " in shown or "nothing was sent" in shown)
    assert server.script.heard == []


@pytest.mark.parametrize(("columns", "lines"), [(20, 24), (10, 6), (40, 3), (2, 2)])
def test_a_narrow_screen_costs_only_beauty(
    start: Start, server: FakeServer, columns: int, lines: int
) -> None:
    text = "A wide answer with 漢字漢字漢字漢字 and \N{FAMILY}\N{FAMILY}, e\u0301 | a | b |\n\n"
    table = "| left column | right column |\n|---|---|\n| 漢字漢字漢字 | cell |\n\n"
    screen = start(columns=columns, lines=lines, shows=">")
    server.script.answer = [*map(say, text), *map(say, table), *map(say, f"{FENCE}```\n"), END]
    screen.type("one\r")
    screen.wait_for(lambda _shown: b"print(1)" in screen.raw.replace(b"\r\n", b""))
    screen.resize(80, 24)
    screen.wait_for("30 of 1,000 tokens")

    goes_on(screen, server)
    assert "Traceback" not in screen.everything()


def test_a_window_that_changes_during_an_answer(start: Start, server: FakeServer) -> None:
    screen = start()
    server.script.answer, server.script.holds = [say("word " * 200)], True
    screen.type("one\r")
    screen.wait_for("word word")

    for columns, lines in ((30, 10), (120, 40), (20, 5), (80, 24)):
        screen.resize(columns, lines)
    screen.key("c-c")

    screen.wait_for("(stopped)")
    goes_on(screen, server)


def test_a_kept_chat_of_hostile_text_shows_no_escape_sequence(
    start: Start, server: FakeServer
) -> None:
    screen = start()
    hostile = "\x1b]0;title\x07\x1b[2J\x9b31mleft"
    server.script.answer = [say(hostile), say("", thinking=hostile), END]
    screen.type("one\r")
    screen.wait_for("30 of 1,000 tokens")
    screen.type("/bye\r")
    assert screen.exit_status() == 0

    again = start("-c", shows="left")

    for raw in (screen.raw, again.raw):
        assert b"\x1b]0;title" not in raw
        assert b"\x1b[2J?31m" not in raw
