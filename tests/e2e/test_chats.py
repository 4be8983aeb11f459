"""Whole chats with the embedded model: killed servers, compaction, models made of chats."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.e2e.conftest import Home, make_home, server_of
from tests.program import PROGRAM

assert sys.platform != "win32"

from tests.cli.chatting.plain_terminal import PROMPT, Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

LONG = '{"type": "array", "items": {"type": "integer"}, "minItems": 500}'


@pytest.fixture
def fresh_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """Return a home of this test alone, whose server may be killed."""
    found = make_home(tmp_path_factory.mktemp("chat"))
    yield found
    found.run("stop", "--server")


@contextlib.contextmanager
def chatting(home: Home, *options: str) -> Iterator[Terminal]:
    command = [*PROGRAM, "run", *options, "--plain"]
    with contextlib.closing(Terminal(command, home.environ)) as terminal:
        yield terminal


def ask(terminal: Terminal, line: str) -> str:
    """Return what is shown from a line to the prompt after it."""
    terminal.ask(line)
    shown = terminal.read_until(PROMPT)
    terminal.unread(PROMPT)
    return shown


def test_a_server_that_is_killed_in_mid_answer_costs_a_line(fresh_home: Home) -> None:
    with chatting(fresh_home, "guide", "--format", LONG) as terminal:
        terminal.ask("numbers")
        terminal.read_until(",")
        server = server_of(fresh_home)
        for process in [*server.children(recursive=True), server]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        terminal.read_until("error: ")

        assert "Set format" not in ask(terminal, "/set noformat")
        assert "error" not in ask(terminal, "What is 27 + 58?")
        assert "What is 27 + 58?" in ask(terminal, "/export md")


def test_a_runner_that_is_killed_in_mid_answer_costs_a_line(fresh_home: Home) -> None:
    with chatting(fresh_home, "guide", "--format", LONG) as terminal:
        terminal.ask("numbers")
        terminal.read_until(",")
        for process in server_of(fresh_home).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        terminal.read_until("error: ")

        ask(terminal, "/set noformat")
        assert "error" not in ask(terminal, "What is 27 + 58?")


def test_a_long_chat_on_a_small_context_is_compacted_and_goes_on(fresh_home: Home) -> None:
    with chatting(fresh_home, "guide", "--ctx", "512") as terminal:
        shown = [ask(terminal, f"What is {number} + 58?") for number in range(30)]
        tokens = ask(terminal, "/tokens")
        kept = ask(terminal, "/export md")

    assert any("(compacted " in text for text in shown)
    assert not any("error" in text or "left out" in text for text in shown)
    assert "summary" in tokens
    assert all(f"What is {number} + 58?" in kept for number in range(30))


def test_a_chat_becomes_a_model_that_another_chat_goes_on_with(fresh_home: Home) -> None:
    with chatting(fresh_home, "guide", "--system", "Be kind.") as terminal:
        ask(terminal, "What is 27 + 58?")
        ask(terminal, "/set parameter temperature 0")
        assert "Created new model 'sums'" in ask(terminal, "/save sums")
        terminal.ask("/load sums")
        terminal.read_until(">>> What is 27 + 58?")
        prompt = ask(terminal, "/prompt And 1 + 1?")
        parameters = ask(terminal, "/show parameters")

    assert prompt.index("Be kind.") < prompt.index("What is 27 + 58?") < prompt.index("And 1 + 1?")
    assert "temperature" in parameters


def test_a_model_that_is_removed_in_mid_chat_is_an_error_and_the_next_goes_on(
    fresh_home: Home, tmp_path_factory: pytest.TempPathFactory
) -> None:
    recipe = tmp_path_factory.mktemp("recipe") / "Modelfile"
    recipe.write_text("FROM guide\nSYSTEM Be kind.\n")
    assert fresh_home.run("create", "kind", "-f", str(recipe)).returncode == 0

    with chatting(fresh_home, "kind") as terminal:
        ask(terminal, "What is 27 + 58?")
        assert fresh_home.run("rm", "kind").returncode == 0
        failed = ask(terminal, "And 1 + 1?")
        ask(terminal, "/model guide")
        retried = ask(terminal, "/retry")

    assert "model 'kind' is not on this machine" in failed.replace(":latest", "")
    assert "error" not in retried
