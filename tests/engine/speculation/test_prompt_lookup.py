"""Draft tokens from a sequence's own tokens, against a search that reads all of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from localrun.engine.sequence import Sequence
from localrun.engine.speculation import prompt_lookup as lookup
from localrun.engine.speculation.prompt_lookup import GRAM, PromptLookup

tokens = st.lists(st.integers(0, 2), min_size=1, max_size=40)


def sequence(start: list[int]) -> Sequence:
    return Sequence(request_id=1, tokens=start, max_tokens=1000)


def searched(known: list[int]) -> int | None:
    """Return the place behind the last run that equals the end, by looking at each."""
    places = [end for end in range(GRAM, len(known)) if known[end - GRAM : end] == known[-GRAM:]]
    return places[-1] if places else None


@given(tokens, st.lists(tokens, max_size=5))
def test_a_draft_is_what_followed_last_time(start: list[int], more: list[list[int]]) -> None:
    found = PromptLookup()
    seq = sequence([*start])

    for new in [[], *more]:
        seq.tokens += new
        place = searched(seq.tokens)
        acceptance = found.acceptance(seq)

        assert (acceptance is None) == (place is None)
        if place is not None:
            (draft,) = found.drafts({seq: 3}).values()
            behind = seq.tokens[place:]
            assert list(draft) == (behind * 3)[:3]


def test_repetition_is_drafted_to_go_on() -> None:
    found = PromptLookup()
    seq = sequence([1, 2, 3, 4] * 3)

    found.acceptance(seq)

    assert found.drafts({seq: 6}) == {seq: (1, 2, 3, 4, 1, 2)}


def test_longer_matches_raise_the_expected_acceptance() -> None:
    found = PromptLookup()
    short, long = sequence([9, 1, 2, 3, 8, 1, 2, 3]), sequence([*range(10)] * 2)

    rates = [found.acceptance(short), found.acceptance(long)]

    assert rates == [1 - 1 / 3, 1 - 1 / 10]


def test_of_a_long_prompt_the_end_is_known() -> None:
    limit = lookup.MAX_INDEXED_TOKENS
    found = PromptLookup()
    seq = sequence([*range(limit), 0, 1, 2])
    near = sequence([*range(limit), limit - 9, limit - 8, limit - 7])

    assert found.acceptance(seq) is None
    assert found.acceptance(near) is not None
