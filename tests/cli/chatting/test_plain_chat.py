"""The plain chat of a dumb terminal, on a real one."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.fake_server import END, FakeServer, say
from tests.hardware.sparse import dense
from tests.program import PROGRAM
from tests.waiting import HANG_S, wait_until

assert sys.platform != "win32"

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROMPT = ">>> "
CTRL_C, CTRL_D = "\x03", "\x04"


class Terminal:
    """A command on a pseudo terminal."""

    def __init__(self, command: list[str], env: dict[str, str]) -> None:
        self._ours, theirs = pty.openpty()
        self._process = subprocess.Popen(
            command,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=env,
            preexec_fn=_own_terminal,  # noqa: PLW1509 - two system calls, no lock is taken
        )
        os.close(theirs)
        self._unread = ""

    def read_until(self, wanted: str) -> str:
        """Return what the screen shows up to ``wanted``, which comes or fails the test."""
        while wanted not in self._unread:
            ready, _, _ = select.select([self._ours], [], [], HANG_S)
            assert ready, f"no {wanted!r} after {self._unread!r}"
            try:
                self._unread += os.read(self._ours, 4096).decode(errors="replace")
            except OSError as error:  # the program has left
                raise AssertionError(f"no {wanted!r} after {self._unread!r}") from error
        before, _, self._unread = self._unread.partition(wanted)
        return before + wanted

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def ask(self, line: str) -> str:
        """Type a line at the prompt and return what is shown until the next prompt."""
        self.read_until(PROMPT)
        self.type(line + "\n")
        return self.read_until(line)

    def exit_code(self) -> int:
        return self._process.wait(HANG_S)

    def press_until_it_leaves(self, key: str) -> int:
        """Press again and again: a signal between prompt and read is seen at the next one."""

        def has_left() -> bool:
            if self._process.poll() is None:
                self.type(key)
            return self._process.poll() is not None

        wait_until(has_left, poll_s=0.1)
        return self._process.wait()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._ours)


def _own_terminal() -> None:
    """Make the pseudo terminal the child's own, so that Ctrl-C in it is a signal."""
    import fcntl
    import termios

    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


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

    assert "guide · 6.3 MB · 5.8M · Q8_0" in head
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
