from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from localrun.cli.chatting.prompt.choosing import ask_by_key, ask_by_line, question_line
from localrun.cli.chatting.prompt.composer import KeyChoice

if TYPE_CHECKING:
    from collections.abc import Callable

CHOICES = (
    KeyChoice("y", "yes, once"),
    KeyChoice("a", "always", is_default=True),
    KeyChoice("n", "no"),
)
WITHOUT_DEFAULT = (KeyChoice("y", "yes"), KeyChoice("n", "no"))


def keys(*typed: str | BaseException) -> Callable[[], str]:
    remaining = iter(typed)

    def read() -> str:
        key = next(remaining)
        if isinstance(key, BaseException):
            raise key
        return key

    return read


@pytest.mark.parametrize(
    ("typed", "key"),
    [
        (("y",), "y"),
        (("Y",), "y"),
        (("x", "n"), "n"),
        (("\r",), "a"),
        (("\n",), "a"),
        (("\x1b",), "n"),
        (("\x04",), "n"),
        (("\x1b[A", "y"), "y"),
        (("xy",), "y"),
        ((" ", "y"), "y"),
        ((KeyboardInterrupt(),), "n"),
        ((EOFError(),), "n"),
    ],
)
def test_one_key_answers_and_leaving_refuses(typed: tuple[str, ...], key: str) -> None:
    assert ask_by_key("Run it?", CHOICES, keys(*typed)) == key


def test_enter_refuses_if_there_is_no_default() -> None:
    assert ask_by_key("Run it?", WITHOUT_DEFAULT, keys("\r")) == "n"


def test_the_question_shows_the_default_and_no_escape_codes() -> None:
    line = question_line("Delete \x1b[31mall?", CHOICES)

    assert line == "Delete ?[31mall? [y] yes, once  [a] always  [n] no (Enter: a) "


@pytest.mark.parametrize(
    ("typed", "key"),
    [("y\n", "y"), ("YES, once\n", "y"), ("\n", "a"), ("", "n"), ("what\nn\n", "n")],
)
def test_a_line_answers_too(typed: str, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))

    assert ask_by_line("Run it?", CHOICES) == key
