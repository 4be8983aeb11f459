"""Prompts beside streams: from the lead of the reader, from a hold, or from their share."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localrun.engine.pacing.prompt_pacing import (
    CALL_S,
    CALL_STEPS,
    HELD_CALL_S,
    HELD_TOKENS,
    LEAST_TOKENS,
    PROMPT_SHARE,
    PromptPacing,
)
from localrun.engine.pacing.reader import AnswerReader
from localrun.engine.sequence import Sequence

TOKEN_S, DECODING_S = 0.005, 0.04
NOW = 100.0


def known() -> PromptPacing:
    pacing = PromptPacing()
    for _ in range(20):
        pacing.record(1, 0, DECODING_S)
        pacing.record(0, 100, 100 * TOKEN_S)
    return pacing


def stream(lead_s: float, *, submitted_at: float = 90.0, first_token_at: float = 90.5) -> Sequence:
    reader = AnswerReader(0.1, read_until=NOW + lead_s)
    return Sequence(
        request_id=1,
        tokens=[0],
        max_tokens=9,
        submitted_at=submitted_at,
        first_token_at=first_token_at,
        reader=reader,
    )


def prompt(num_tokens: int, submitted_at: float = 99.0) -> Sequence:
    tokens = [0] * num_tokens
    return Sequence(request_id=2, tokens=tokens, max_tokens=9999, submitted_at=submitted_at)


@pytest.mark.parametrize(
    ("token_s", "num_tokens"), [(None, 512), (0.01, 512), (0.001, 1000), (1 / 20_000, 20_000)]
)
def test_without_readers_a_call_takes_a_second_or_an_ordinary_step(
    token_s: float | None, num_tokens: int
) -> None:
    batch, pacing = Sequence(request_id=1, tokens=[0], max_tokens=9), PromptPacing()
    if token_s is not None:
        pacing.record(0, 512, 512 * token_s)

    for decoding in ([], [batch]):
        assert abs(pacing.num_prompt_tokens(NOW, decoding, [prompt(4000)]) - num_tokens) <= 1


def test_without_readers_a_call_has_at_least_the_tokens_that_are_set() -> None:
    pacing = PromptPacing(call_tokens=2048)
    pacing.record(0, 512, 5.12)

    assert pacing.num_prompt_tokens(NOW, [], [prompt(4000)]) == 2048


def test_before_anything_is_measured_there_is_a_first_guess() -> None:
    assert PromptPacing().num_prompt_tokens(NOW, [stream(0.1)], [prompt(4000)]) == LEAST_TOKENS


def test_a_reader_without_a_lead_is_not_made_to_wait() -> None:
    assert known().num_prompt_tokens(NOW, [stream(0.1)], [prompt(4000)]) == 0


def test_a_lead_is_spent_on_one_call() -> None:
    num_tokens = known().num_prompt_tokens(NOW, [stream(0.7)], [prompt(4000)])

    assert 96 <= num_tokens <= (0.7 - DECODING_S) / TOKEN_S


def test_the_reader_with_the_least_lead_decides() -> None:
    assert known().num_prompt_tokens(NOW, [stream(9.0), stream(0.1)], [prompt(4000)]) == 0


def test_a_long_lead_is_spent_in_calls_that_let_the_stream_advance() -> None:
    num_tokens = known().num_prompt_tokens(NOW, [stream(60.0)], [prompt(4000)])

    assert 0.6 * CALL_S <= num_tokens * TOKEN_S <= CALL_S


def test_calls_beside_a_stream_of_a_fast_model_are_short() -> None:
    pacing = PromptPacing()
    pacing.record(1, 0, 0.0005)
    pacing.record(0, 512, 512 * 0.00025)

    num_tokens = pacing.num_prompt_tokens(NOW, [stream(60.0)], [prompt(4000)])

    assert num_tokens == CALL_STEPS * 0.0005 / 0.00025


@pytest.mark.parametrize("num_tokens", [3, 64, 100, 127])
def test_a_short_prompt_is_computed_in_one_call(num_tokens: int) -> None:
    assert known().num_prompt_tokens(NOW, [stream(0.8)], [prompt(num_tokens)]) == num_tokens


@pytest.mark.parametrize("num_tokens", range(128, 400, 7))
def test_no_small_rest_is_left(num_tokens: int) -> None:
    first = known().num_prompt_tokens(NOW, [stream(60.0)], [prompt(num_tokens)])

    assert first == num_tokens or num_tokens - first >= LEAST_TOKENS
    assert first >= LEAST_TOKENS


def test_any_stream_may_be_held_for_some_prompts_that_came_together_with_it() -> None:
    pacing = known()
    quick = stream(0.0, submitted_at=90.0, first_token_at=90.1)
    mate = prompt(4000, submitted_at=90.05)

    assert pacing.num_prompt_tokens(NOW, [quick], [mate]) >= LEAST_TOKENS
    assert quick.reader is not None
    quick.reader.waited_s = HELD_TOKENS * TOKEN_S
    assert pacing.num_prompt_tokens(NOW, [quick], [mate]) == 0


def test_prompts_that_came_together_with_a_stream_may_hold_it_as_long_as_it_waited() -> None:
    pacing = known()
    waited = stream(0.1, submitted_at=80.0, first_token_at=90.0)
    mate, later = prompt(4000, submitted_at=85.0), prompt(4000, submitted_at=95.0)

    assert pacing.num_prompt_tokens(NOW, [waited], [mate]) >= LEAST_TOKENS
    assert pacing.num_prompt_tokens(NOW, [waited], [later]) == 0
    assert waited.reader is not None
    waited.reader.waited_s = 10.0
    assert pacing.num_prompt_tokens(NOW, [waited], [mate]) == 0


def test_prompts_that_came_together_with_all_streams_get_larger_calls() -> None:
    first = stream(0.1, submitted_at=80.0, first_token_at=90.0)
    later = stream(60.0, submitted_at=80.0, first_token_at=81.0)
    mate = prompt(4000, submitted_at=85.0)
    pacing = known()

    alone = pacing.num_prompt_tokens(NOW, [first], [mate]) * TOKEN_S
    beside_another = pacing.num_prompt_tokens(NOW, [first, later], [mate]) * TOKEN_S

    assert 0.6 * HELD_CALL_S <= alone <= HELD_CALL_S
    assert beside_another <= CALL_S


@given(
    st.floats(0.0001, 0.5),
    st.floats(0.0005, 2.0),
    st.integers(1, 6),
    st.integers(1, 5000),
    st.floats(0.001, 1.0),
)
def test_prompts_get_their_share_of_the_time_whatever_steps_cost(
    token_s: float, decoding_s: float, num_streams: int, num_tokens: int, reading_s: float
) -> None:
    pacing = PromptPacing()
    streams = [stream(0.0) for _ in range(num_streams)]
    for seq in streams:
        seq.reader = AnswerReader(reading_s)
    waiting = prompt(num_tokens)
    now, decoded_s, call_s = NOW, 0.0, 0.0
    pacing.record(0, 64, 64 * token_s)

    while waiting.num_pending:
        num = min(pacing.num_prompt_tokens(now, streams, [waiting]), waiting.num_pending)
        assert num == 0 or num >= min(LEAST_TOKENS, waiting.num_pending)
        seconds = decoding_s + num * token_s
        pacing.record(num_streams, num, seconds)
        now += seconds
        for seq in streams:
            assert seq.reader is not None
            seq.reader.receive(now)
        waiting.num_computed += num
        decoded_s = 0.0 if num else decoded_s + seconds
        call_s = min(waiting.num_pending, 2 * LEAST_TOKENS) * token_s
        if waiting.num_pending:
            assert decoded_s <= (1 / PROMPT_SHARE - 1) * call_s + 2 * decoding_s
