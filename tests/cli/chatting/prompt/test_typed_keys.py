from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localrun.cli.chatting.prompt.typed_keys import (
    PASTE_END,
    PASTE_START,
    KeyAct,
    TypedKeys,
)


@pytest.mark.parametrize(
    ("typed", "acts", "kept"),
    [
        (b"hello\r", [], b"hello\r"),
        (b"a\x0fb", [KeyAct.FOLD], b"ab"),
        (b"a\x03b", [KeyAct.INTERRUPT], b"ab"),
        (b"\x1b\x1b", [KeyAct.INTERRUPT], b""),
        (b"\x1b[A\x1bb", [], b"\x1b[A\x1bb"),
        (b"\x1b\r", [], b"\x1b\r"),
        (b"\x1b[200~a\x0f\x1b\x1b\x03\x1b[201~b", [], b"\x1b[200~a\x0f\x1b\x1b\x03\x1b[201~b"),
        ("漢字👍".encode(), [], "漢字👍".encode()),
    ],
)
def test_keys_act_or_are_kept(typed: bytes, acts: list[KeyAct], kept: bytes) -> None:
    keys = TypedKeys()

    assert keys.feed(typed) == acts
    assert keys.take() == kept


def test_an_escape_is_a_key_only_if_nothing_follows() -> None:
    keys = TypedKeys()

    assert keys.feed(b"text\x1b") == []
    assert keys.awaits_more()
    assert keys.lone_escape() == [KeyAct.INTERRUPT]
    assert not keys.awaits_more()
    assert keys.lone_escape() == []
    assert keys.take() == b"text"


def test_an_escape_that_something_follows_is_a_sequence() -> None:
    keys = TypedKeys()
    keys.feed(b"\x1b")

    assert keys.feed(b"[A") == []
    assert not keys.awaits_more()
    assert keys.take() == b"\x1b[A"


def test_what_was_taken_is_gone() -> None:
    keys = TypedKeys()
    keys.feed(b"one")
    keys.take()

    assert keys.take() == b""


def test_a_paste_without_end_is_closed() -> None:
    keys = TypedKeys()
    keys.feed(PASTE_START + b"half")

    assert keys.take() == PASTE_START + b"half" + PASTE_END
    assert keys.feed(b"\x0f") == [KeyAct.FOLD]


@given(st.binary(max_size=60), st.lists(st.integers(0, 80), max_size=5))
def test_the_parts_in_which_keys_arrive_do_not_matter(middle: bytes, cuts: list[int]) -> None:
    typed = b"a" + PASTE_START + middle.replace(b"\x1b", b"") + PASTE_END + b"\x0fb\x1b[Bc"
    places = sorted({min(cut, len(typed)) for cut in cuts})
    keys = TypedKeys()

    acts = [
        act
        for start, end in zip([0, *places], [*places, len(typed)], strict=True)
        for act in keys.feed(typed[start:end])
    ]

    assert acts == [KeyAct.FOLD]
    assert keys.take() == typed.replace(b"\x0fb\x1b", b"b\x1b")
