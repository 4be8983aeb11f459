"""Answers of a chat as a screen shows them: long ones, code, tables, and windows that change."""

from __future__ import annotations

import sys

import pytest

assert sys.platform != "win32"

import base64
import re
from typing import TYPE_CHECKING

from localrun.cli.rendering.line_writer import cells
from tests.cli.chatting.prompt.pty_screen import PtyScreen
from tests.cli.fake_server import END, FakeServer, say
from tests.program import PROGRAM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Start = Callable[[int, int], PtyScreen]

STATE = {"name": "guide:latest", "context": 1000, "size_bytes": 5, "size_gpu_bytes": 0}
SIZES = [(80, 24), (200, 60)]
CODE = "".join(f'    if x[{n}] == "<{n}>":  # 世界 | * _\n\treturn `{n}`\n' for n in range(10))
TABLE = """| Name | Meaning |
|------|---------|
| 漢字 | a remark that is far too long for one line of the window of this terminal, by words |
"""


@pytest.fixture
def start(server: FakeServer, tmp_path: Path) -> Iterator[Start]:
    """Return a function that starts a chat in a window of a size."""
    server.script.running = [STATE]
    environ = {**server.environment(tmp_path), "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
    for name in ("COLUMNS", "DISPLAY", "WAYLAND_DISPLAY", "TMUX"):
        environ.pop(name, None)
    started: list[PtyScreen] = []

    def begin(columns: int, lines: int) -> PtyScreen:
        screen = PtyScreen([*PROGRAM, "run", "guide"], environ, columns=columns, lines=lines)
        started.append(screen)
        screen.wait_for("1,000 tokens" if columns > 40 else ">>>")
        return screen

    yield begin
    for screen in started:
        screen.__exit__()


def ask(screen: PtyScreen, server: FakeServer, answer: str) -> None:
    """Ask for an answer that arrives in small parts, and wait for its end."""
    parts = [say(answer[start : start + 7]) for start in range(0, len(answer), 7)]
    server.script.answer = [*parts, END]
    screen.type("one\r")
    screen.wait_for("30 of 1,000 tokens")


@pytest.mark.parametrize(("columns", "lines"), SIZES)
def test_a_long_answer_is_whole_and_in_order(
    start: Start, server: FakeServer, columns: int, lines: int
) -> None:
    screen = start(columns, lines)

    ask(screen, server, "".join(f"- **line** {number}\n" for number in range(500)))

    shown = re.findall(r"^• line (\d+)$", screen.everything(), re.MULTILINE)
    assert [int(number) for number in shown] == list(range(500))


def test_a_block_of_code_is_copied_exactly(start: Start, server: FakeServer) -> None:
    screen = start(80, 24)
    ask(screen, server, f"Look:\n\n```python\n{CODE}```\nDone.\n")

    screen.type("/copy 1\r")
    screen.wait_for("Copied code block 1")

    (copied,) = re.findall(rb"\x1b]52;c;([^\x07]*)\x07", screen.raw)
    assert base64.b64decode(copied).decode() == CODE


def test_code_stands_at_the_left_edge_of_the_screen(start: Start, server: FakeServer) -> None:
    screen = start(80, 24)
    lines = [f"value_{number} = [{number}, 'text']  # why" for number in range(20)]

    ask(screen, server, "1. Do:\n\n```python\n" + "\n".join(lines) + "\n```\n")

    assert "\n".join(["```python", *lines, "```"]) in screen.everything()


@pytest.mark.parametrize("columns", [20, 40, 80])
def test_a_table_wider_than_the_screen_loses_no_word(
    start: Start, server: FakeServer, columns: int
) -> None:
    screen = start(columns, 24)

    ask_narrow(screen, server, f"{TABLE}\nfine\n")

    answer = screen.everything().partition("one\n")[2].partition("fine")[0]
    words = answer.replace("漢字", " ").replace("─", " ").split()
    assert [word for word in words if word in TABLE.split()][-2:] == ["by", "words"]
    assert "漢字" in answer.replace(" ", "")
    assert all(cells(line.rstrip()) <= columns for line in answer.splitlines())


def ask_narrow(screen: PtyScreen, server: FakeServer, answer: str) -> None:
    """Ask where the toolbar has no room for numbers."""
    server.script.answer = [*map(say, answer), END]
    screen.type("one\r")
    screen.wait_for("fine")


def test_text_after_a_change_of_the_window_is_wrapped_to_its_width(
    start: Start, server: FakeServer
) -> None:
    screen = start(80, 24)
    server.script.answer, server.script.holds = [say("first " * 40)], True
    screen.type("one\r")
    screen.wait_for("first first")
    screen.resize(40, 24)
    screen.key("c-c")
    screen.wait_for("(stopped)")

    server.script.holds = False
    ask(screen, server, "second " * 40)

    lines = [line.split() for line in screen.everything().splitlines() if "second" in line]
    assert sum(map(len, lines)) == 40
    assert {len(line) for line in lines[:-1]} == {5}  # 5 * 7 cells of 40
