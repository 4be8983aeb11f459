"""Intervals and tests, against published and exact values."""

from __future__ import annotations

from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localrun.evaluation.statistics import paired_p, wilson


@pytest.mark.parametrize(
    ("passed", "all_tasks", "low", "high"),
    [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (81, 263, 0.2553, 0.3662), (1, 1, 0.2065, 1)],
)
def test_wilsons_interval(passed: int, all_tasks: int, low: float, high: float) -> None:
    interval = wilson(passed, all_tasks)

    assert (interval.low, interval.high) == pytest.approx((low, high), abs=1e-4)


@given(st.integers(0, 1000), st.integers(1, 1000))
def test_an_interval_holds_the_rate_and_is_one(passed: int, more: int) -> None:
    interval = wilson(passed, passed + more)

    assert 0 <= interval.low <= passed / (passed + more) <= interval.high <= 1


@given(st.integers(0, 60), st.integers(0, 60))
def test_the_paired_test_is_the_exact_binomial_one(first: int, second: int) -> None:
    num = first + second
    exact = sum(comb(num, k) for k in range(min(first, second) + 1)) * 2 / 2**num

    assert paired_p(first, second) == pytest.approx(min(1.0, exact)) == paired_p(second, first)


def test_no_tasks_and_very_many() -> None:
    assert wilson(0, 0).high == 1.0
    assert paired_p(0, 0) == 1.0
    assert paired_p(40_000, 60_000) == pytest.approx(0.0, abs=1e-12)
