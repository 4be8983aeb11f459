from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localrun.cli.chatting.prompt.line.clusters import first_cluster, last_cluster

LETTERS = [
    "a",
    "é",
    "e\u0301",
    "漢",
    "👍",
    "👍🏽",
    "👩\u200d👩\u200d👧",
    "🇩🇪",
    "❤\ufe0f",
    "नि",
    " ",
]


@pytest.mark.parametrize("letter", LETTERS)
def test_a_letter_is_one_whatever_its_parts(letter: str) -> None:
    assert first_cluster(letter + "x") == len(letter)
    assert last_cluster("x" + letter) == len(letter)


def test_an_empty_text_has_no_letter() -> None:
    assert (first_cluster(""), last_cluster("")) == (0, 0)


@given(st.lists(st.sampled_from(LETTERS), min_size=1, max_size=12))
def test_a_text_is_walked_letter_by_letter(letters: list[str]) -> None:
    text, found = "".join(letters), []
    while text:
        found.append(text[: first_cluster(text)])
        text = text[len(found[-1]) :]

    assert found == letters


@given(st.text(max_size=300))
def test_any_text_has_an_end(text: str) -> None:
    assert (last_cluster(text) > 0) is bool(text)
