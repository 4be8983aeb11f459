"""Whether drafts save time, on machines whose steps take an exact time."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from localrun.engine.speculation.draft_budget import DraftBudget

STEP_S = 0.01
Cost = Callable[[int], float]


def processor(num_drafts: int) -> float:
    return STEP_S * (1 + 0.5 * num_drafts)


def accelerator(num_drafts: int) -> float:
    return STEP_S * (1 + 0.02 * num_drafts)


def speed(
    cost: Cost, share: float, acceptance: float, *, streams: int = 1, tokens: int = 2000
) -> float:
    """Return how many times faster than without drafts the tokens of a stream come.

    A draft token is accepted with the probability ``share``; the source expects ``acceptance``.
    """
    budget, rng = DraftBudget(), random.Random(1)  # noqa: S311 - only a test
    spent_s, done = 0.0, 0.0
    while done < tokens:
        length = budget.length(streams, [acceptance] * streams, 32 // streams)
        if not length:
            budget.record_plain_step(streams, STEP_S)
            spent_s, done = spent_s + STEP_S, done + 1
            continue
        drafts = length * streams
        right = sum(_first_right(rng, share, length) for _ in range(streams))
        budget.record_draft_step(streams, drafts, cost(drafts))
        budget.settle(streams, drafts, right)
        spent_s, done = spent_s + cost(drafts), done + 1 + right / streams
    return done * STEP_S / spent_s


def _first_right(rng: random.Random, share: float, length: int) -> int:
    for place in range(length):
        if rng.random() >= share:
            return place
    return length


@pytest.mark.parametrize("cost", [processor, accelerator])
@pytest.mark.parametrize("streams", [1, 4, 16])
@pytest.mark.parametrize("acceptance", [0.7, 0.95])
def test_rejected_drafts_cost_little(cost: Cost, streams: int, acceptance: float) -> None:
    assert speed(cost, 0.0, acceptance, streams=streams) > 0.98


@pytest.mark.parametrize(("cost", "least"), [(processor, 1.3), (accelerator, 6.0)])
def test_accepted_drafts_save_time(cost: Cost, least: float) -> None:
    assert speed(cost, 0.97, 0.9) > least


def test_many_streams_draft_only_if_steps_have_spare_compute() -> None:
    assert speed(accelerator, 0.97, 0.9, streams=8) > 1.5
    assert speed(processor, 0.97, 0.9, streams=8) > 0.98


def test_a_price_that_was_measured_too_high_is_tried_again() -> None:
    budget = DraftBudget()
    budget.record_plain_step(1, STEP_S)
    for length in (3, 7, 15):
        budget.record_draft_step(1, length, 100 * STEP_S)

    lengths = []
    for _ in range(3000):
        lengths.append(budget.length(1, [0.95], 32))
        budget.record_plain_step(1, STEP_S)

    assert lengths[0] == 0
    assert any(lengths)


def test_nothing_is_drafted_before_a_plain_step_was_measured() -> None:
    assert DraftBudget().length(1, [1.0], 32) == 0
