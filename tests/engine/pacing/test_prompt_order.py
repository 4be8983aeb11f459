"""The order of prompts: short ones pass long ones, and nobody is passed for ever."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from localrun.engine.pacing.prompt_order import are_one_batch, in_order, record_passing
from localrun.engine.pacing.reader import AnswerReader
from localrun.engine.sequence import Sequence

CALL = 16


def prompt(number: int, num_tokens: int) -> Sequence:
    return Sequence(
        request_id=number,
        tokens=[0] * num_tokens,
        max_tokens=num_tokens + 1,
        submitted_at=float(number),
    )


def test_the_shortest_is_first_and_equal_ones_keep_the_order_of_their_arrival() -> None:
    prompts = [prompt(1, 90), prompt(2, 30), prompt(3, 30), prompt(4, 60)]

    assert [seq.request_id for seq in in_order(prompts)] == [2, 3, 4, 1]


def test_what_is_computed_already_does_not_count() -> None:
    begun, other = prompt(1, 90), prompt(2, 30)
    begun.num_computed = 70

    assert in_order([begun, other])[0] is begun


def test_prompts_that_were_passed_enough_come_first_the_oldest_before_the_others() -> None:
    prompts = [prompt(1, 90), prompt(2, 50), prompt(3, 30)]
    prompts[0].num_passed, prompts[1].num_passed = 90, 80

    assert [seq.request_id for seq in in_order(prompts)] == [1, 2, 3]


def test_only_later_prompts_pass() -> None:
    old, young = prompt(1, 90), prompt(2, 30)

    record_passing([old, young], old, 10)
    record_passing([old, young], young, 5)

    assert (old.num_passed, young.num_passed) == (5, 0)


def test_a_batch_is_what_came_before_the_first_token_of_any_while_nobody_reads() -> None:
    early, late = prompt(1, 9), prompt(5, 9)
    decoding = [prompt(0, 1), prompt(1, 1)]
    decoding[0].first_token_at, decoding[1].first_token_at = 3.0, 6.0

    assert are_one_batch(decoding, [early])
    assert not are_one_batch(decoding, [early, late])
    decoding[1].reader = AnswerReader(0.1)
    assert not are_one_batch(decoding, [early])


@given(st.lists(st.tuples(st.integers(1, 200), st.integers(0, 3)), min_size=1, max_size=40))
def test_nobody_is_passed_by_more_than_its_own_tokens(arrivals: list[tuple[int, int]]) -> None:
    waiting: list[Sequence] = []
    left = [*arrivals]
    for number in range(10_000):
        while left and (not waiting or left[0][1] == 0):
            waiting.append(prompt(number, left.pop(0)[0]))
        if left:
            left[0] = (left[0][0], left[0][1] - 1)  # it comes so many calls later
        if not waiting:
            break
        first = in_order(waiting)[0]
        num_tokens = min(CALL, first.num_pending)
        record_passing(waiting, first, num_tokens)
        first.num_computed += num_tokens
        waiting = [seq for seq in waiting if seq.num_pending]
        assert all(seq.num_passed <= seq.num_prompt + CALL for seq in waiting)

    assert not waiting
