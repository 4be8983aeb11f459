"""Prompts beside running streams: as many tokens as the streams do not notice."""

from __future__ import annotations

import pytest

from localrun.engine.prefill_pace import FIRST_TOKENS, STRETCH, PrefillPace


def gap(pace: PrefillPace, decode_s: float, token_s: float, num_steps: int = 60) -> float:
    """Return the time of the last of some steps that obey the pace, in normal steps."""
    for _ in range(20):
        pace.record(2, 0, decode_s)
    seconds = decode_s
    for _ in range(num_steps):
        num_prompt = pace.prompt_tokens(2)
        seconds = decode_s + num_prompt * token_s
        pace.record(2, num_prompt, seconds)
    return seconds / decode_s


@pytest.mark.parametrize("decode_s", [0.01, 0.05, 0.3])
@pytest.mark.parametrize("cost", [0.01, 0.05, 0.5])
def test_streams_keep_their_pace_whatever_a_token_costs(decode_s: float, cost: float) -> None:
    stretched = gap(PrefillPace(), decode_s, cost * decode_s)

    assert stretched <= STRETCH + 0.01
    assert stretched >= 1 + (STRETCH - 1) / 2  # and prompts get what is left


def test_the_pace_follows_a_prompt_that_grows_dear() -> None:
    pace = PrefillPace()
    gap(pace, 0.05, 0.001)

    assert gap(pace, 0.05, 0.004) <= STRETCH + 0.01


def test_before_anything_is_measured_there_is_a_first_guess() -> None:
    assert PrefillPace().prompt_tokens(3) == FIRST_TOKENS


def test_one_slow_step_changes_little() -> None:
    pace = PrefillPace()
    gap(pace, 0.05, 0.001)
    before = pace.prompt_tokens(2)

    pace.record(2, before, 5.0)

    assert pace.prompt_tokens(2) >= before / 2


def test_a_prompt_that_others_wait_for_is_as_short_as_one_beside_them() -> None:
    pace = PrefillPace()
    for _ in range(20):
        pace.record(4, 0, 0.020)
        pace.record_prompt(64, 0.064)

    assert 16 <= pace.prompt_tokens(4) <= 24  # a step of 20 ms, and 1.2 times that for a prompt
