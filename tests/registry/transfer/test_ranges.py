"""Ranges are a set of positions."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from localrun.registry.transfer.ranges import Ranges

INTERVALS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)))


def positions(intervals: list[tuple[int, int]]) -> set[int]:
    return {position for start, end in intervals for position in range(start, end)}


@given(INTERVALS)
def test_they_hold_what_a_set_of_integers_holds(intervals: list[tuple[int, int]]) -> None:
    ranges = Ranges(intervals)

    assert positions(ranges.intervals()) == positions(intervals)
    assert ranges.total == len(positions(intervals))


@given(INTERVALS)
def test_they_are_disjoint_in_order_and_do_not_touch(intervals: list[tuple[int, int]]) -> None:
    flat = [bound for interval in Ranges(intervals).intervals() for bound in interval]

    assert flat == sorted(set(flat))


@given(INTERVALS, st.integers(0, 70), st.integers(0, 70))
def test_a_gap_is_the_first_run_of_missing_positions(
    intervals: list[tuple[int, int]], position: int, size: int
) -> None:
    missing = [p for p in range(position, size) if p not in positions(intervals)]

    gap = Ranges(intervals).gap_from(position, size)

    if gap is None:
        assert missing == []
        return
    start, end = gap
    assert start == missing[0]
    assert set(range(start, end)) <= set(missing)
    assert end == size or end in positions(intervals)


@given(INTERVALS, st.integers(0, 70))
def test_the_end_of_a_position_is_the_first_that_is_missing(
    intervals: list[tuple[int, int]], position: int
) -> None:
    there = positions(intervals)

    assert Ranges(intervals).end_of(position) == next(
        p for p in range(position, 200) if p not in there
    )


def test_a_copy_is_its_own() -> None:
    ranges = Ranges([(0, 5)])
    other = ranges.copy()

    other.add(7, 9)

    assert ranges.intervals() == [(0, 5)]
