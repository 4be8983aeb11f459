from __future__ import annotations

import pytest

from localrun.engine.speculation.earlier_answers import EarlierAnswers
from localrun.engine.speculation.speculator import Speculator
from tests.engine.speculation.sequences import answering, ended

ANSWER = [*range(10, 30)]


def draft(source: EarlierAnswers, tokens: list[int], model_name: str = "a") -> tuple[int, ...]:
    seq = answering(tokens, model_name=model_name)
    return () if source.acceptance(seq) is None else source.drafts({seq: 4})[seq]


def test_what_followed_in_an_earlier_answer_is_drafted() -> None:
    source = EarlierAnswers()
    source.retire(ended(ANSWER, model_name="a"))

    assert draft(source, [5, 12, 13, 14]) == (15, 16, 17, 18)
    assert draft(source, [27, 28, 29]) == ()  # the end of the answer
    assert draft(source, [12, 14, 13]) == ()


def test_answers_of_another_model_are_never_drafted() -> None:
    source = EarlierAnswers()
    source.retire(ended(ANSWER, model_name="a"))

    assert draft(source, [12, 13, 14], model_name="b") == ()


def test_the_prompt_of_an_earlier_request_is_not_part_of_its_answer() -> None:
    source = EarlierAnswers()
    source.retire(ended([7, 8, 9, 10], model_name="a"))

    assert draft(source, [900, 901, 7]) == ()


def test_a_longer_match_is_expected_to_be_accepted_more_often() -> None:
    source = EarlierAnswers()
    source.retire(ended(ANSWER, model_name="a"))

    short = source.acceptance(answering([5, 12, 13, 14], model_name="a"))
    long = source.acceptance(answering(ANSWER[:15], model_name="a"))

    assert short == pytest.approx(2 / 3)
    assert long == pytest.approx(14 / 15)


def test_the_latest_answer_wins_and_the_oldest_is_forgotten() -> None:
    source = EarlierAnswers(max_tokens=50)
    for last in (1, 2, 3):
        source.retire(ended([*ANSWER, last], model_name="a"))
    source.retire(ended([70, 71, 72, 73], model_name="a"))

    assert draft(source, [27, 28, 29]) == (3,)
    assert source._num_tokens <= 50
    assert {place.answer for place in source._places.values()} <= source._answers.keys()


def test_everything_is_forgotten_in_time() -> None:
    source = EarlierAnswers(max_tokens=30)
    source.retire(ended(ANSWER, model_name="a"))
    source.retire(ended([*range(100, 125)], model_name="b"))

    assert draft(source, [12, 13, 14]) == ()
    assert len(source._places) == 25 - 3


def test_a_request_that_did_not_finish_leaves_nothing() -> None:
    source = EarlierAnswers()
    source.retire(answering(ANSWER, model_name="a"))

    assert draft(source, [12, 13, 14]) == ()


def test_the_speculator_names_its_sources() -> None:
    assert Speculator([EarlierAnswers()]).source_names == ("earlier answers",)
