"""Policies of the engine on simulated calls with measured costs: ratios to the ideal, and bounds.

Everything but llama.cpp is real, and the clock is that of the calls.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from benchmarks.pacing.costs import STREAMS, UNIFIED, CallCosts
from benchmarks.pacing.scenarios import BURSTS, Burst, crowd, long_prompt_beside_stream
from benchmarks.pacing.simulation import Answer, Arrival, Outcome, simulate
from hypothesis import given, settings
from hypothesis import strategies as st

from localrun.engine.pacing.prompt_pacing import LEAST_TOKENS, PROMPT_SHARE

BURST_RATIO = 1.15  # of the ideal: all prompts at the rate of large calls, then decoding together
PATIENCE_S = 0.1  # that a reader does not feel
LONG_PROMPT = 4000
both_kinds = pytest.mark.parametrize("costs", [UNIFIED, STREAMS], ids=["unified", "streams"])
arrivals = st.lists(
    st.builds(
        Arrival,
        num_prompt=st.integers(1, 2000),
        num_new=st.integers(1, 150),
        at_s=st.floats(0, 60),
        is_read=st.booleans(),
    ),
    min_size=1,
    max_size=10,
)
speeds = st.sampled_from([0.05, 0.3, 1.0, 6.0])


def check_calls(outcome: Outcome) -> None:
    """No call beside a reader has a few tokens of a long prompt."""
    for step in outcome.steps:
        if step.num_readers and step.num_prompt:
            assert step.num_prompt >= min(LEAST_TOKENS, step.num_pending)


@both_kinds
@pytest.mark.parametrize("burst", BURSTS, ids=lambda burst: burst.name)
def test_a_burst_takes_hardly_longer_than_the_ideal(burst: Burst, costs: CallCosts) -> None:
    ideal_s = burst.ideal_s(costs)

    read = simulate(burst.arrivals, costs, is_warm=burst.is_warm)
    unread = simulate(burst.without_readers().arrivals, costs, is_warm=burst.is_warm)

    assert read.wall_s <= BURST_RATIO * ideal_s
    assert unread.wall_s <= BURST_RATIO * ideal_s
    check_calls(read)


@both_kinds
def test_prompts_of_a_batch_are_computed_before_anybody_decodes_alone(costs: CallCosts) -> None:
    batch = [Arrival(num_prompt=1200, num_new=32, is_read=False)] * 4

    outcome = simulate(batch, costs)

    first_plain = next(n for n, step in enumerate(outcome.steps) if not step.num_prompt)
    assert not any(step.num_prompt for step in outcome.steps[first_plain:])


@both_kinds
@pytest.mark.parametrize(("begun_s", "ratio"), [(0.5, 2.6), (20.0, 2.2), (60.0, 1.3)])
def test_a_reader_does_not_feel_a_long_prompt_of_somebody_else(
    costs: CallCosts, begun_s: float, ratio: float
) -> None:
    outcome = simulate(long_prompt_beside_stream(begun_s), costs)

    check_calls(outcome)
    assert outcome.answers[1].first_s <= ratio * costs.prompt_seconds(LONG_PROMPT)
    before = [step for step in outcome.steps if step.num_pending]
    assert outcome.longest_wait_s <= PATIENCE_S
    assert outcome.reader_wait_s <= 0.02 * sum(step.seconds for step in before)


@both_kinds
def test_a_fast_machine_computes_a_long_prompt_as_if_nobody_read(costs: CallCosts) -> None:
    fast = costs.scaled(0.2)

    outcome = simulate(long_prompt_beside_stream(0.5), fast)

    assert outcome.answers[1].first_s <= BURST_RATIO * fast.prompt_seconds(LONG_PROMPT)
    assert outcome.longest_wait_s <= PATIENCE_S


def test_a_short_prompt_does_not_wait_for_a_long_one() -> None:
    both = [Arrival(num_prompt=4000, num_new=1), Arrival(num_prompt=100, num_new=1, at_s=1.0)]

    outcome = simulate(both, STREAMS)

    steps = [step.seconds for step in outcome.steps]
    assert outcome.answers[1].first_s <= sum(steps[:2])  # the call that runs, and one more


def test_a_crowd_waits_less_than_if_prompts_had_the_order_of_their_arrival() -> None:
    outcomes = [simulate(crowd(seed), STREAMS) for seed in range(20)]

    felt_s = sum(outcome.felt_s for outcome in outcomes) / len(outcomes)
    assert felt_s <= 0.6 * 15.0  # of prompts in their order, with a few tokens beside each step
    for outcome in outcomes:
        check_calls(outcome)


@pytest.mark.parametrize("count", [2, 4, 8])
def test_a_stream_is_held_for_no_longer_than_it_waited_for_its_first_token(count: int) -> None:
    costs = replace(
        STREAMS, own_cell_us=1.0, next_output_ms=0.1
    )  # all can decode as fast as they are read

    outcome = simulate([Arrival(num_prompt=600, num_new=200)] * count, costs)

    call_s = max(step.seconds for step in outcome.steps if step.num_decoding)
    for answer in outcome.answers:
        assert sum(answer.waits) <= answer.first_s + call_s


@settings(max_examples=60, deadline=None)
@given(arrivals, speeds)
def test_nobody_starves(requests: list[Arrival], factor: float) -> None:
    costs = STREAMS.scaled(factor)

    outcome = simulate(requests, costs)

    check_calls(outcome)
    slowest_call_s = max(step.seconds for step in outcome.steps)
    for answer in outcome.answers:
        assert len(answer.token_times) == answer.arrival.num_new
        gaps = [b - a for a, b in zip(answer.token_times, answer.token_times[1:], strict=False)]
        held_s = (
            0.0 if answer.arrival.is_read else _prompt_seconds_of_batch(requests, answer, costs)
        )
        longest_gap_s = 2 * slowest_call_s + held_s  # a token at least from every second call
        assert max(gaps, default=0.0) <= longest_gap_s + 1e-6
        computed_s = _prompt_seconds_of_others(requests, answer.arrival, costs)
        num_calls = len(requests) + 1
        assert answer.first_s <= computed_s / PROMPT_SHARE + num_calls * 2 * slowest_call_s


def _prompt_seconds_of_batch(requests: list[Arrival], answer: Answer, costs: CallCosts) -> float:
    """Return the seconds of all prompts that came before the first token."""
    batch = [other for other in requests if other.at_s <= answer.token_times[0]]
    return sum(1.5 * costs.prompt_seconds(other.num_prompt) + 0.1 for other in batch)


def _prompt_seconds_of_others(requests: list[Arrival], own: Arrival, costs: CallCosts) -> float:
    """Return the seconds of all prompts that came before, of the own one, and of as much again."""
    before = [other for other in requests if other.at_s <= own.at_s]
    longest = max(other.num_prompt for other in requests)
    num_tokens = sum(other.num_prompt for other in before) + own.num_prompt + 512
    token_s = 1.5 * costs.prompt_seconds(LEAST_TOKENS, longest) / LEAST_TOKENS
    return num_tokens * token_s
