"""The chat with its line editor, on a terminal whose screen is read back."""

from __future__ import annotations

import sys

import pytest

assert sys.platform != "win32"

from typing import TYPE_CHECKING

from tests.cli.chatting.prompt.pty_screen import PtyScreen
from tests.cli.fake_server import END, FakeServer, say
from tests.program import PROGRAM
from tests.waiting import HANG_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

STATE = {"name": "guide:latest", "context": 1000, "size_bytes": 5, "size_gpu_bytes": 0}
READY = "0 of 1,000 tokens (0 %) · guide · kept"


@pytest.fixture
def start(server: FakeServer, tmp_path: Path) -> Iterator[Callable[..., PtyScreen]]:
    """Return a function that starts a chat and waits for its prompt."""
    started: list[PtyScreen] = []
    server.script.running = [STATE]

    def begin(*options: str, columns: int = 80, lines: int = 24) -> PtyScreen:
        environ = {**server.environment(tmp_path), "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
        environ.pop("COLUMNS", None)
        command = [*PROGRAM, "run", "guide", *options]
        screen = PtyScreen(command, environ, columns=columns, lines=lines)
        started.append(screen)
        screen.wait_for("1,000 tokens (0 %)")
        return screen

    yield begin
    for screen in started:
        screen.__exit__()


def test_the_first_line_and_the_toolbar_say_what_the_chat_has(
    start: Callable[..., PtyScreen],
) -> None:
    screen = start("--temperature", "0.5", "--no-save")

    first, *_ = screen.screen().splitlines()
    assert first == "guide · 9.4 MB · 5.8M · Q8_0 · CPU · context 1000 tokens"
    toolbar = screen.screen().splitlines()[-1]
    assert toolbar.strip() == "0 of 1,000 tokens (0 %) · guide · temperature 0.5 · not kept"


def test_the_toolbar_follows_the_context(
    start: Callable[..., PtyScreen], server: FakeServer
) -> None:
    screen = start()
    server.script.answer = [say("Ok."), {**END, "prompt_eval_count": 850, "eval_count": 10}]

    screen.type("one\r")

    screen.wait_for("860 of 1,000 tokens (86 %), the next message compacts older turns")


@pytest.mark.parametrize("key", ["c-c", "esc"])
def test_a_key_stops_the_answer_and_what_came_stays(
    start: Callable[..., PtyScreen], server: FakeServer, key: str
) -> None:
    screen = start()
    server.script.answer, server.script.holds = [say("Half an answer ")], True
    screen.type("one\r")
    screen.wait_for("Half an")

    screen.key(key)

    screen.wait_for("(stopped)")
    assert server.script.client_left.wait(HANG_S)
    server.script.answer, server.script.holds = [say("Whole."), END], False
    screen.type("/regenerate\r")
    screen.wait_for("Whole.")
    assert server.script.heard[-1]["messages"] == [{"role": "user", "content": "one"}]


def test_a_thought_is_stopped_as_well(start: Callable[..., PtyScreen], server: FakeServer) -> None:
    screen = start()
    server.script.answer, server.script.holds = [say("", thinking="Hmm")], True
    screen.type("one\r")
    screen.wait_for("Hmm")

    screen.key("c-c")

    screen.wait_for("(stopped)")
    screen.wait_for(READY)


def test_ctrl_c_at_an_empty_prompt_leaves_the_second_time(
    start: Callable[..., PtyScreen],
) -> None:
    screen = start()
    screen.key("c-c")
    screen.wait_for("again")

    screen.key("c-c")

    assert screen.exit_status() == 0


def test_what_is_typed_during_an_answer_is_in_the_next_prompt(
    start: Callable[..., PtyScreen], server: FakeServer
) -> None:
    screen = start()
    server.script.answer, server.script.holds = [say("Half an answer ")], True
    screen.type("one\r")
    screen.wait_for("Half an")

    screen.type("next question")
    screen.key("c-c")

    screen.wait_for(">>> next question")


def test_hidden_thoughts_are_not_shown(start: Callable[..., PtyScreen], server: FakeServer) -> None:
    screen = start("--hide-thinking")
    server.script.answer = [say("", thinking="Hmm"), say("Yes."), END]

    screen.type("one\r")

    screen.wait_for("Yes.")
    assert "Hmm" not in screen.everything()


@pytest.mark.parametrize(("columns", "lines"), [(80, 24), (200, 60)])
def test_a_long_answer_is_whole_in_the_scrollback(
    start: Callable[..., PtyScreen], server: FakeServer, columns: int, lines: int
) -> None:
    screen = start(columns=columns, lines=lines)
    server.script.answer = [*(say(f"line {number}\n\n") for number in range(300)), END]

    screen.type("one\r")

    screen.wait_for("30 of 1,000 tokens")
    shown = screen.everything()
    assert all(f"line {number}\n" in shown for number in range(300))
    assert shown.count("line 150\n") == 1


def test_a_command_is_completed(start: Callable[..., PtyScreen]) -> None:
    screen = start()

    screen.type("/regen")
    screen.wait_for("answer the last message once more")
    screen.key("tab")
    screen.wait_for(">>> /regenerate")
    screen.key("enter")  # takes the completion
    screen.key("enter")

    screen.wait_for("there is no message to answer")
