"""What a model or a server says cannot steer the terminal; pipes get it to the byte."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localrun.cli.output import Output
from localrun.errors import ModelNotFoundError
from localrun.modelfile.recipe import Recipe
from localrun.names.parse import parse_name
from localrun.services.creating.create import create_model
from localrun.store.layout import Layout, create
from localrun.terminal import harmless
from tests.cli.fake_server import END, FakeServer, say
from tests.program import PROGRAM
from tests.services.making import workspace_at

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.conftest import Localrun

EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\x08\x7f\x0c\x00"
OURS = ("\x1b[2m", "\x1b[0m", "\x1b[K")  # dim, plain, an empty line for a status
REVERSED = "gpj.\u202egguf"


class FakeTerminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@contextlib.contextmanager
def terminal() -> Iterator[FakeTerminal]:
    screen = FakeTerminal()
    with contextlib.redirect_stdout(screen), contextlib.redirect_stderr(screen):
        yield screen


def on_terminal(env: dict[str, str], *arguments: str) -> str:
    """Run a command on a terminal of its own and return what it wrote there."""
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    written = bytearray()

    def read() -> None:
        with contextlib.suppress(OSError):  # Linux ends a terminal so
            while piece := os.read(ours, 4096):
                written.extend(piece)

    reader = threading.Thread(target=read)
    with subprocess.Popen(
        [*PROGRAM, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        env={**env, "TERM": "xterm"},
    ) as process:
        os.close(theirs)
        reader.start()
        process.wait(60)
    reader.join()
    os.close(ours)
    return written.decode().replace("\r\n", "\n")


def without_ours(shown: str) -> str:
    for sequence in OURS:
        shown = shown.replace(sequence, "")
    return shown.replace("\r", "")  # before a status


def is_harmless(shown: str) -> bool:
    return all(
        letter in "\n\t" or ord(letter) not in {*range(32), *range(127, 160)} for letter in shown
    )


@given(st.text())
def test_a_terminal_gets_no_control_character_however_a_text_is_cut(text: str) -> None:
    output = Output()
    with terminal() as screen:
        for letter in text:
            output.piece(letter)
            output.thought(letter)
        output.text(text)
        output.line(text)
        output.note(text)
        output.aside(text)
        output.table((), [(text,)])
        output.error(ModelNotFoundError(text, hint=text))

    assert is_harmless(without_ours(screen.getvalue()))


@given(st.text(alphabet=st.characters(exclude_categories=["Cc", "Cs"])))
def test_letters_of_all_languages_are_shown_as_they_are(text: str) -> None:
    assert harmless(text) == text


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_what_is_no_terminal_gets_the_text_as_it_is(text: str) -> None:
    screen = io.StringIO()
    with contextlib.redirect_stdout(screen):
        Output().piece(text)

    assert screen.getvalue() == text


def test_names_cannot_reorder_what_is_beside_them() -> None:
    with terminal() as screen:
        output = Output()
        output.line(f"{REVERSED} is here")
        output.note(f"{REVERSED} is pulled")
        output.table(("NAME",), [(REVERSED,)])
        output.error(ModelNotFoundError(f"no {REVERSED}"))

    assert "\u202e" not in screen.getvalue()


@pytest.mark.parametrize("flag", ["--no-stream", "--verbose"])
def test_an_answer_cannot_steer_the_terminal(server: FakeServer, tmp_path: Path, flag: str) -> None:
    thoughts = [say("", thinking=letter) for letter in EVIL]
    pieces = [*thoughts, *(say(letter) for letter in f"a{EVIL}b\tc\u202e")]
    server.script.answer = [*pieces, END]

    shown = without_ours(on_terminal(server.environment(tmp_path), "run", flag, "guide", "hi"))

    assert is_harmless(shown)
    assert "a?]0;owned??[2J?31m????b" in shown


def test_a_pipe_gets_the_answer_to_the_byte(localrun: Localrun, server: FakeServer) -> None:
    server.script.answer = [say(f"a{EVIL}"), say("\u202eb"), END]

    assert localrun("run", "guide", "hi").stdout == f"a{EVIL}\u202eb\n"


@pytest.mark.parametrize("part", ["--license", "--system", "--template", "--modelfile"])
def test_a_models_texts_cannot_steer_the_terminal(tmp_path: Path, part: str) -> None:
    workspace = workspace_at(tmp_path, "http://127.0.0.1:9")
    evil = EVIL.replace("\0", "")  # which no recipe holds
    recipe = Recipe(sources=("guide",), system=evil, licenses=(evil,), template=evil)
    create_model(workspace, parse_name("evil"), recipe, folder=tmp_path)
    env = {**os.environ, "LOCALRUN_MODELS": str(workspace.settings.models_dir)}

    shown = on_terminal(env, "show", "evil", part)
    piped = subprocess.run(
        [*PROGRAM, "show", "evil", part],
        check=True, capture_output=True, env=env,
    )  # fmt: skip

    assert is_harmless(shown)
    assert "?]0;owned??[2J?31m" in shown
    assert evil.encode() in piped.stdout


def test_ps_and_why_cannot_steer_the_terminal(server: FakeServer, tmp_path: Path) -> None:
    server.script.why = {
        "settings": [{"name": EVIL, "value": EVIL, "source": EVIL, "reason": EVIL}],
        "memory": {EVIL: 5},
        "plan": None,
    }

    shown = on_terminal(server.environment(tmp_path), "why", "guide")

    assert is_harmless(shown)
    assert "memory: 5 B on ?]0;owned" in shown


def test_a_warning_cannot_steer_the_terminal(tmp_path: Path) -> None:
    """A damaged ref is told by its content, which whoever wrote it has chosen."""
    layout = Layout(tmp_path)
    create(layout)
    path = layout.ref(parse_name("evil").key)
    path.parent.mkdir(parents=True)
    path.write_text('{"format_version": "\\u202e http://u:pw@h", "name": "x"}')

    shown = on_terminal({**os.environ, "LOCALRUN_MODELS": str(tmp_path)}, "list")

    assert is_harmless(shown)
    assert "left out" in shown
    assert "u202e http://***@h" in shown
