"""The plain chat of a dumb terminal, on a real one."""

from __future__ import annotations

import contextlib
import signal
import sys
from typing import TYPE_CHECKING, Any

import pytest

assert sys.platform != "win32"

from tests.cli.chatting.plain_terminal import PROMPT, Terminal
from tests.cli.fake_server import END, FakeServer, say
from tests.hardware.sparse import dense
from tests.program import PROGRAM
from tests.waiting import HANG_S

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CTRL_C, CTRL_D = "\x03", "\x04"


@pytest.fixture
def terminal(server: FakeServer, tmp_path: Path) -> Iterator[Terminal]:
    command = [*PROGRAM, "run", "guide", "--system", "Be kind."]
    with contextlib.closing(Terminal(command, server.environment(tmp_path))) as opened:
        yield opened


def messages(server: FakeServer) -> list[dict[str, Any]]:
    """Return the conversation that the server was sent last, without its system message."""
    conversation: list[dict[str, Any]] = server.script.heard[-1]["messages"]
    assert conversation[0] == {"role": "system", "content": "Be kind."}
    return conversation[1:]


def test_the_conversation_is_remembered_until_it_is_cleared(
    terminal: Terminal, server: FakeServer
) -> None:
    terminal.ask("one")
    terminal.read_until("Hello.")
    terminal.ask("two")
    terminal.read_until("Hello.")

    assert messages(server) == [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "Hello."},
        {"role": "user", "content": "two"},
    ]

    terminal.ask("/clear")
    terminal.ask("three")
    terminal.read_until("Hello.")

    assert messages(server) == [{"role": "user", "content": "three"}]


@pytest.mark.parametrize("word", ["/bye\n", CTRL_D])
def test_the_chat_is_left_by_word_or_key(terminal: Terminal, word: str) -> None:
    terminal.read_until(PROMPT)

    terminal.type(word)

    assert terminal.exit_code() == 0


def test_triple_quotes_hold_several_lines(terminal: Terminal, server: FakeServer) -> None:
    terminal.ask('"""one')
    terminal.read_until("... ")
    terminal.type('two"""\n')
    terminal.read_until("Hello.")

    assert messages(server) == [{"role": "user", "content": "one\ntwo"}]


def test_the_head_tells_the_context_that_the_model_has(server: FakeServer, tmp_path: Path) -> None:
    note = "cut from 9000 to the model's own 2048 tokens"
    row = {"name": "guide:latest", "context": 2048, "context_note": note}
    server.script.running = [row]
    command = [*PROGRAM, "run", "guide", "--ctx", "9000"]

    with contextlib.closing(Terminal(command, server.environment(tmp_path))) as opened:
        head = opened.read_until(PROMPT)

    assert "guide · 9.4 MB · 5.8M · Q8_0" in head
    assert f"context 2048 tokens ({note})" in head
    assert server.script.loads == [{"model": "guide:latest", "num_ctx": 9000}]


def test_help_and_unknown_commands_ask_nothing(terminal: Terminal, server: FakeServer) -> None:
    terminal.ask("/help")
    terminal.read_until("/clear")
    terminal.ask("/nosuch")
    terminal.read_until("unknown command '/nosuch'")
    terminal.read_until(PROMPT)

    assert server.script.heard == []


def test_ctrl_c_ends_the_answer_and_a_second_one_leaves(
    terminal: Terminal, server: FakeServer
) -> None:
    server.script.answer, server.script.holds = [say("Half")], True
    terminal.ask("one")
    terminal.read_until("Half")

    terminal.type(CTRL_C)
    terminal.read_until(PROMPT)
    assert server.script.client_left.wait(HANG_S)

    # the signal itself, should it come when Python is on its way out: 130 to a shell, too
    assert terminal.press_until_it_leaves(CTRL_C) in {0, 130, -signal.SIGINT}


def test_a_failed_question_is_forgotten_and_the_chat_goes_on(
    terminal: Terminal, server: FakeServer
) -> None:
    server.script.answer = [{"error": "it was killed", "code": "runner_died"}]
    terminal.ask("one")
    terminal.read_until("error: it was killed")

    server.script.answer = [say("Back."), END]
    terminal.ask("two")
    terminal.read_until("Back.")

    assert messages(server) == [{"role": "user", "content": "two"}]


@pytest.mark.parametrize("words", [["hi"], []])
def test_a_context_below_the_models_own_is_noted_once(
    server: FakeServer, tmp_path: Path, words: list[str]
) -> None:
    file = tmp_path / "long.gguf"
    dense("llama", layers=1, width=64, heads=1, kv_heads=1, inner=64, vocabulary=64)(file)
    server.script.why = {"context": 4608, "settings": [{"name": "context", "source": "plan"}]}
    command = [*PROGRAM, "run", str(file), *words]
    last = "Hello." if words else PROMPT
    with contextlib.closing(Terminal(command, server.environment(tmp_path))) as first:
        first.read_until("the context is 4608 of the model's 131072 tokens")
    with contextlib.closing(Terminal(command, server.environment(tmp_path))) as second:
        screen = second.read_until(last)

    assert "the context is" not in screen
    assert [path.partition("?")[0] for path in server.script.paths].count("/api/localrun/why") == 1


@contextlib.contextmanager
def chatting(server: FakeServer, folder: Path, *options: str) -> Iterator[Terminal]:
    command = [*PROGRAM, "run", *options]
    with contextlib.closing(Terminal(command, server.environment(folder))) as opened:
        yield opened


def test_the_last_chat_goes_on_with_its_model_and_its_settings(
    server: FakeServer, tmp_path: Path
) -> None:
    with chatting(server, tmp_path, "guide", "--system", "Be kind.", "--seed", "7") as first:
        first.ask("one")
        first.ask("/bye")
        assert first.exit_code() == 0

    with chatting(server, tmp_path, "-c") as second:
        shown = second.read_until("Hello.")
        second.ask("two")
        second.read_until("Hello.")

    assert ">>> one" in shown
    assert server.script.heard[-1]["options"] == {"seed": 7}
    assert messages(server) == [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "Hello."},
        {"role": "user", "content": "two"},
    ]


def test_continue_with_nothing_kept_is_an_error(server: FakeServer, tmp_path: Path) -> None:
    with chatting(server, tmp_path, "-c") as terminal:
        terminal.read_until("no chat is kept yet")

        assert terminal.exit_code() == 3


def test_a_chat_that_is_not_kept_cannot_go_on(server: FakeServer, tmp_path: Path) -> None:
    with chatting(server, tmp_path, "guide", "--no-save") as first:
        first.ask("one")
        first.ask("/bye")
        first.exit_code()

    with chatting(server, tmp_path, "-c") as second:
        assert second.exit_code() == 3


def test_two_chats_at_once_are_kept_apart(server: FakeServer, tmp_path: Path) -> None:
    with chatting(server, tmp_path, "guide") as one, chatting(server, tmp_path, "guide") as other:
        one.ask("from one")
        other.ask("from the other")
        one.read_until("Hello.")
        other.read_until("Hello.")
        one.ask("/export md")
        shown = one.read_until("## Assistant")
        other.ask("/chats")
        listed = other.read_until("goes on with one")

    assert "from the other" not in shown
    assert "from one" in listed
    assert "from the other" in listed


def test_what_came_of_a_broken_answer_stays(terminal: Terminal, server: FakeServer) -> None:
    server.script.answer = [say("Half")]
    terminal.ask("one")
    terminal.read_until("error: ")

    server.script.answer = [say("Back."), END]
    terminal.ask("two")
    terminal.read_until("Back.")

    assert messages(server) == [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "Half"},
        {"role": "user", "content": "two"},
    ]


def test_a_model_that_was_removed_leaves_the_chat_alive(
    terminal: Terminal, server: FakeServer
) -> None:
    gone = {"error": "model 'guide' is not on this machine", "code": "model_not_found"}
    server.script.answer = [gone]
    terminal.ask("one")
    terminal.read_until("is not on this machine")

    server.script.answer = [say("Back."), END]
    terminal.ask("/model guide")
    terminal.ask("/retry")
    terminal.read_until("Back.")

    assert messages(server) == [{"role": "user", "content": "one"}]


def test_a_full_disk_is_said_once_and_costs_nothing(server: FakeServer, tmp_path: Path) -> None:
    (tmp_path / "chats").write_text("a file, no folder")

    with chatting(server, tmp_path, "guide") as terminal:
        terminal.ask("one")
        first = terminal.read_until("Hello.")
        terminal.ask("two")
        second = terminal.read_until("Hello.")

    assert "this chat is not kept any more" in first
    assert "not kept" not in second
