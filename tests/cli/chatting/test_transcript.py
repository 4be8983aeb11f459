"""What a chat prints of earlier messages."""

from __future__ import annotations

import pytest

from localrun.cli.chatting.transcript import MAX_LINES, MOST_SHOWN, shown_text


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ({"content": "Hello"}, "Hello"),
        ({"content": "two\nlines"}, "two\nlines"),
        ({"content": "File a.py:\n...", "typed": "see @a.py"}, "see @a.py"),
        (
            {"content": "File a.py:\n```\nx\n```\n\nsee [file 1: a.py]", "attachments": ["a.py"]},
            "(a.py)\nsee [file 1: a.py]",
        ),
        ({"content": "x\n" * 99 + "x"}, "x\n" * MAX_LINES + "(80 more lines)"),
        ({"content": "x" * 9999}, "x" * MOST_SHOWN + " ..."),
        ({"content": None}, ""),
    ],
)
def test_a_message_is_shown_as_it_was_typed(message: dict[str, object], shown: str) -> None:
    assert shown_text({"role": "user", **message}) == shown
