from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from localrun.cli.chatting.prompt.pastes import FIRST, FoldedPastes

LONG = "".join(f"line {number}\n" for number in range(10_000))


def test_a_long_paste_is_one_character_with_a_marker_that_says_its_size() -> None:
    pastes = FoldedPastes()

    text = f"explain {pastes.fold(LONG)} please"

    assert len(text) == len("explain  please") + 1
    assert pastes.label(text) == "explain [paste 1: 10,000 lines] please"
    assert pastes.expand(text) == f"explain {LONG} please"


def test_a_short_paste_stays_text() -> None:
    assert FoldedPastes().fold("one\ntwo\n") == "one\ntwo\n"


def test_a_long_line_is_folded_by_its_characters() -> None:
    pastes = FoldedPastes()

    assert pastes.label(pastes.fold("x" * 100_000)) == "[paste 1: 100,000 characters]"


def test_pastes_are_numbered_in_the_order_of_the_message() -> None:
    pastes = FoldedPastes()
    first, second = pastes.fold(LONG), pastes.fold("y" * 5000)

    assert pastes.label(second + first) == "[paste 1: 5,000 characters][paste 2: 10,000 lines]"


def test_a_marker_that_is_typed_is_text() -> None:
    pastes = FoldedPastes()
    pastes.fold(LONG)

    assert pastes.expand("[paste 1: 10,000 lines]") == "[paste 1: 10,000 lines]"


def test_a_pasted_private_character_arrives_as_it_is() -> None:
    pastes = FoldedPastes()
    folded = pastes.fold(LONG)
    foreign = f"a {chr(FIRST)} b"

    assert pastes.expand(folded + pastes.fold(foreign)) == LONG + foreign


@given(st.lists(st.text(alphabet=st.characters(codec="utf-8"), max_size=200), max_size=6))
def test_what_is_folded_is_expanded_to_the_same(texts: list[str]) -> None:
    pastes = FoldedPastes()

    folded = "".join(map(pastes.fold, [text * 20 for text in texts]))

    assert pastes.expand(folded) == "".join(text * 20 for text in texts)
