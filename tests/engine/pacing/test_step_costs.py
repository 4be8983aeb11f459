"""What steps cost, learned from steps."""

from __future__ import annotations

import pytest

from localrun.engine.pacing.step_costs import StepCosts


def test_nothing_is_known_before_anything_is_measured() -> None:
    costs = StepCosts()

    assert costs.prompt_token_s is None
    assert costs.decoding_s(3) == 0


def test_the_nearest_number_of_sequences_stands_for_others() -> None:
    costs = StepCosts()
    costs.record(1, 0, 0.04)
    costs.record(8, 0, 0.1)

    assert costs.decoding_s(2) == 0.04
    assert costs.decoding_s(16) == 0.1


def test_a_prompt_beside_streams_costs_what_the_step_takes_beyond_them() -> None:
    costs = StepCosts()
    costs.record(2, 0, 0.05)

    costs.record(2, 100, 0.75)

    assert costs.prompt_token_s == pytest.approx(0.007)


def test_the_costs_follow_a_prompt_that_grows_dear() -> None:
    costs = StepCosts()
    for place in range(40):
        costs.record(0, 64, 64 * (0.004 + 0.0003 * place))

    assert costs.prompt_token_s == pytest.approx(0.004 + 0.0003 * 38, rel=0.02)


def test_one_slow_step_changes_little() -> None:
    costs = StepCosts()
    for _ in range(10):
        costs.record(2, 0, 0.05)
        costs.record(2, 64, 0.5)
    decoding_s, token_s = costs.decoding_s(2), costs.prompt_token_s or 0.0

    costs.record(2, 0, 5.0)
    costs.record(2, 64, 50.0)

    assert costs.decoding_s(2) <= 1.25 * decoding_s
    assert token_s <= (costs.prompt_token_s or 0.0) <= 1.5 * token_s


def test_a_few_tokens_change_little() -> None:
    costs = StepCosts()
    costs.record(0, 512, 2.5)

    costs.record(0, 4, 0.04)

    assert costs.prompt_token_s == pytest.approx(0.005, rel=0.05)
