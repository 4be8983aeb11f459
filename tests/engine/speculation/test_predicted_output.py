"""Draft tokens from the text that the client predicts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from localrun.engine.sequence import Sequence
from localrun.engine.speculation.predicted_output import GRAM, PredictedOutput

PROMPT = [7, 7, 7]


def sequence(predicted: list[int]) -> Sequence:
    return Sequence(request_id=1, tokens=[*PROMPT], max_tokens=1000, predicted=tuple(predicted))


def draft(source: PredictedOutput, seq: Sequence, number: int) -> tuple[int, ...] | None:
    return None if source.acceptance(seq) is None else source.drafts({seq: number})[seq]


def test_an_answer_as_predicted_is_drafted_from_its_first_token_to_its_last() -> None:
    source, seq = PredictedOutput(), sequence([1, 2, 3, 4, 5])

    assert draft(source, seq, 2) == (1, 2)
    seq.tokens += [1, 2]
    assert draft(source, seq, 9) == (3, 4, 5)
    seq.tokens += [3, 4, 5]
    assert draft(source, seq, 9) is None


def test_after_a_change_it_goes_on_where_the_text_is_the_same_again() -> None:
    source, seq = PredictedOutput(), sequence([1, 2, 3, 4, 5, 6, 7, 8])
    source.acceptance(seq)

    seq.tokens += [1, 9]
    assert draft(source, seq, 2) is None
    seq.tokens += [4, 5, 6]
    assert draft(source, seq, 2) == (7, 8)


def test_a_repeated_run_is_left_at_the_place_that_was_reached() -> None:
    source, seq = PredictedOutput(), sequence([1, 2, 3, 4, 1, 2, 3, 5])
    source.acceptance(seq)

    seq.tokens += [1, 2, 3]

    assert draft(source, seq, 1) == (4,)


@given(st.lists(st.integers(0, 2), min_size=1, max_size=20), st.lists(st.integers(0, 2)))
def test_a_draft_follows_in_the_text_the_answers_end(
    predicted: list[int], answer: list[int]
) -> None:
    source, seq = PredictedOutput(), sequence(predicted)

    for token in answer:
        found = draft(source, seq, 4)
        seq.tokens.append(token)
        if found is None:
            continue
        before = answer[: seq.num_generated - 1][-GRAM:]
        run = [*before, *found]
        places = range(len(predicted) - len(run) + 1)
        assert any(predicted[place : place + len(run)] == run for place in places)


def test_a_request_without_a_prediction_gets_no_draft() -> None:
    assert PredictedOutput().acceptance(sequence([])) is None
