from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from localrun.cli.chatting.prompt.completion.candidates import completions_of, may_complete
from localrun.cli.chatting.prompt.sources import ArgumentKind, Candidate, CommandForm

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FORMS = (
    CommandForm(name="/bye", description="leave"),
    CommandForm(name="/compact", description="summarize"),
    CommandForm(name="/model", description="switch", arguments=(ArgumentKind.MODEL,)),
    CommandForm(name="/file", arguments=(ArgumentKind.PATH,), repeats=True),
    CommandForm(name="/set parameter", arguments=(ArgumentKind.PARAMETER, ArgumentKind.TEXT)),
    CommandForm(name="/set format", arguments=(("json", "text"),)),
    CommandForm(name="/load", arguments=(ArgumentKind.CHAT,)),
)
VALUES = {
    ArgumentKind.MODEL: ("guide", "qwen3:0.6b", "my model"),
    ArgumentKind.PARAMETER: ("temperature", "top_k", "top_p"),
    ArgumentKind.CHAT: (),
}


class Source:
    def commands(self) -> Sequence[CommandForm]:
        return FORMS

    def values(self, kind: ArgumentKind) -> Sequence[Candidate]:
        return [Candidate(text) for text in VALUES[kind]]


def complete(text: str, folder: Path) -> list[str]:
    """Return the lines that the completions of a text make."""
    found = completions_of(text, Source(), folder)
    return [text[: len(text) - found.replaced] + each.text for each in found.candidates]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("/mo", ["/model"]),
        ("/c", ["/compact"]),
        ("/od", ["/model", "/load"]),
        ("/s", ["/set"]),
        ("/set ", ["/set parameter", "/set format"]),
        ("/set f", ["/set format"]),
        ("/set format ", ["/set format json", "/set format text"]),
        (
            "/set parameter t",
            ["/set parameter temperature"] + [f"/set parameter top_{x}" for x in "kp"],
        ),
        ("/set parameter temperature ", []),
        ("/model g", ["/model guide"]),
        ("/model my", ['/model "my model"']),
        ("/model 0.6", ["/model qwen3:0.6b"]),
        ("/bye ", []),
        ("/nothing x", []),
        ("no /mo", []),
        ("/mo\n", []),
    ],
)
def test_a_command_is_completed_word_by_word(text: str, lines: list[str], tmp_path: Path) -> None:
    assert complete(text, tmp_path) == lines


def test_the_nearest_name_comes_first(tmp_path: Path) -> None:
    assert complete("/o", tmp_path) == ["/compact", "/model", "/load"]


def test_paths_are_completed_in_commands_and_after_an_at_sign(tmp_path: Path) -> None:
    (tmp_path / "my notes").mkdir()
    (tmp_path / "my notes" / "a b.md").touch()
    (tmp_path / "main.py").touch()

    assert complete("/file main.py m", tmp_path) == [
        '/file main.py "my notes/',
        "/file main.py main.py",
    ]
    assert complete('/file "my notes/', tmp_path) == ['/file "my notes/a b.md"']
    assert complete("explain @ma", tmp_path) == ["explain @main.py"]
    assert complete('explain @"my notes/a', tmp_path) == ['explain @"my notes/a b.md"']
    assert complete("me@ma", tmp_path) == []


def test_only_commands_and_mentions_complete_while_typing() -> None:
    assert may_complete("/mo")
    assert may_complete("explain @src/")
    assert not may_complete("explain this")
    assert not may_complete("mail me@home")
    assert not may_complete("one\n/mo")
