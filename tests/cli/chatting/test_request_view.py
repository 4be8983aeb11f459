"""What ``/prompt`` shows of a request."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from localrun.cli.chatting.chat import act_on
from localrun.cli.chatting.request_view import option_rows, prompt_view
from tests.cli.chatting.fakes import fake_chat

if TYPE_CHECKING:
    from pathlib import Path


def test_options_have_their_source() -> None:
    body = {"options": {"temperature": 0.5, "stop": ["A", "B"]}, "think": False, "messages": []}
    recipe = [("temperature", 1), ("seed", 7), ("dry_sequence_breakers", "x"),
              ("dry_sequence_breakers", "y"), ("stop", "C")]  # fmt: skip

    assert option_rows(body, recipe) == [
        ("temperature", "0.5", "chat"),
        ("stop", "A B", "chat"),
        ("think", "False", "chat"),
        ("seed", "7", "model"),
        ("dry_sequence_breakers", "x y", "model"),
    ]


@pytest.mark.parametrize(
    ("prompt", "shown"),
    [
        ("abcdef", "abcdef"),
        ("abcdefg", "abc\n[... 1 characters left out ...]\nefg"),
        ("a" * 3 + "x" * 5000 + "b" * 3, "aaa\n[... 5,000 characters left out ...]\nbbb"),
    ],
)
def test_a_long_prompt_is_shown_in_part(prompt: str, shown: str) -> None:
    assert prompt_view(prompt, 6) == shown


def test_the_command_shows_options_and_prompt(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = fake_chat(tmp_path, system="Be brief.")
    act_on(fake.chat, "/set parameter temperature 0.5")

    act_on(fake.chat, "/prompt Hello")

    shown = capsys.readouterr().out
    assert "temperature   0.5   chat" in shown
    assert "<system>Be brief.<user>Hello" in shown
