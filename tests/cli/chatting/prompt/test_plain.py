from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from localrun.cli.chatting.prompt.composer import ComposerOptions
from localrun.cli.chatting.prompt.history import read_history
from localrun.cli.chatting.prompt.plain import PlainComposer

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def composer(tmp_path: Path) -> PlainComposer:
    return PlainComposer(ComposerOptions(is_plain=True, history_file=tmp_path / "history"))


def type_lines(monkeypatch: pytest.MonkeyPatch, *lines: str | BaseException) -> list[str]:
    """Answer `input` by lines and exceptions; return the list of its prompts."""
    remaining, prompts = iter(lines), []

    def answer(prompt: str = "") -> str:
        prompts.append(prompt)
        line = next(remaining)
        if isinstance(line, BaseException):
            raise line
        return line

    monkeypatch.setattr("builtins.input", answer)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    return prompts


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["hello"], "hello"),
        (['"""one', "two", 'three"""'], "one\ntwo\nthree"),
        (['"""', "code", '"""'], "code"),
        (["one\\", "two\\", "three"], "one\ntwo\nthree"),
        (["C:\\\\"], "C:\\\\"),
        ([""], ""),
    ],
)
def test_the_syntax_is_that_of_the_line_editor(
    composer: PlainComposer, monkeypatch: pytest.MonkeyPatch, lines: list[str], message: str
) -> None:
    prompts = type_lines(monkeypatch, *lines)

    assert composer.read() == message
    assert prompts == [">>> ", *["... "] * (len(lines) - 1)]


def test_a_second_interrupt_leaves(
    composer: PlainComposer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    type_lines(monkeypatch, KeyboardInterrupt(), "text", KeyboardInterrupt(), KeyboardInterrupt())

    assert composer.read() == "text"
    assert "press Ctrl-C again or Ctrl-D to leave" in capsys.readouterr().err
    with pytest.raises(EOFError):
        composer.read()


def test_the_end_of_the_input_leaves(
    composer: PlainComposer, monkeypatch: pytest.MonkeyPatch
) -> None:
    type_lines(monkeypatch, EOFError())

    with pytest.raises(EOFError):
        composer.read()


def test_messages_are_kept(
    composer: PlainComposer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    type_lines(monkeypatch, "one", " secret", '"""two', 'lines"""')

    for _ in range(3):
        composer.read()

    assert read_history(tmp_path / "history") == ["one", '"""two\nlines"""']


@pytest.mark.parametrize(("typed", "message"), [("", "one\ntwo"), ("other", "other")])
def test_a_text_of_several_lines_is_shown_and_sent_by_enter(
    composer: PlainComposer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    typed: str,
    message: str,
) -> None:
    type_lines(monkeypatch, typed)

    assert composer.read("one\ntwo") == message
    assert "one\ntwo\n(Enter sends this text" in capsys.readouterr().err


def test_the_prompt_is_no_part_of_output_that_is_redirected(
    composer: PlainComposer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    prompts = type_lines(monkeypatch, "text")
    monkeypatch.setattr("sys.stdout.isatty", lambda: False)

    composer.read()

    assert prompts == [""]
    assert capsys.readouterr().err == ">>> "
