from __future__ import annotations

import pytest

from localrun.cli.chatting.prompt.message_text import (
    as_shown,
    as_unicode,
    is_unfinished,
    unquoted,
    with_line_ends,
)


@pytest.mark.parametrize(
    ("text", "is_open"),
    [
        ("hello", False),
        ("", False),
        ("hello\\", True),
        ("a path C:\\\\", False),
        ("three \\\\\\", True),
        ('"""', True),
        ('"""one\ntwo', True),
        ('"""one\ntwo"""', False),
        ('"""one\ntwo"""  ', False),
        ('""""""', False),
        ('"""a backslash\\', True),
        ('"""closed\\"""', False),
        ('say """ now', False),
    ],
)
def test_enter_goes_on_in_open_quotes_and_after_a_backslash(text: str, *, is_open: bool) -> None:
    assert is_unfinished(text) is is_open


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('"""one\ntwo"""', "one\ntwo"),
        ('"""\none\n  two\n"""', "one\n  two"),
        ('""""""', ""),
        ("plain", "plain"),
        ('"""open', '"""open'),
        ('say """ now', 'say """ now'),
    ],
)
def test_the_quotes_of_a_message_are_removed(text: str, message: str) -> None:
    assert unquoted(text) == message


def test_line_ends_of_other_systems_become_one() -> None:
    assert with_line_ends("a\r\nb\rc\n") == "a\nb\nc\n"


def test_bytes_that_are_not_utf8_are_replaced() -> None:
    typed = b"caf\xe9 \xe2\x82\xac".decode("utf-8", "surrogateescape")

    assert as_unicode(typed) == "caf� €"


def test_each_line_of_a_sent_message_has_its_mark() -> None:
    assert as_shown("one\n\ntwo") == ">>> one\n... \n... two"
