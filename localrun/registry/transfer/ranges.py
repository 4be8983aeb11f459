"""Which bytes of a file are there: half-open intervals, disjoint and in order."""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Ranges:
    """A set of byte positions as intervals ``[start, end)``."""

    def __init__(self, intervals: Iterable[tuple[int, int]] = ()) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        for start, end in intervals:
            self.add(start, end)

    def add(self, start: int, end: int) -> None:
        """Add the positions from ``start`` to before ``end``; touching intervals become one."""
        if start >= end:
            return
        low = bisect.bisect_left(self._ends, start)
        high = bisect.bisect_right(self._starts, end)
        if low < high:
            start = min(start, self._starts[low])
            end = max(end, self._ends[high - 1])
        self._starts[low:high] = [start]
        self._ends[low:high] = [end]

    def end_of(self, position: int) -> int:
        """Return the end of the interval that holds a position, the position where none does."""
        index = bisect.bisect_right(self._starts, position) - 1
        if index >= 0 and position < self._ends[index]:
            return self._ends[index]
        return position

    def gap_from(self, position: int, size: int) -> tuple[int, int] | None:
        """Return the first interval from ``position`` to ``size`` that is not there."""
        start = self.end_of(position)
        if start >= size:
            return None
        index = bisect.bisect_right(self._starts, start)
        end = self._starts[index] if index < len(self._starts) else size
        return start, min(end, size)

    @property
    def total(self) -> int:
        """Return how many positions there are."""
        return sum(self._ends) - sum(self._starts)

    def intervals(self) -> list[tuple[int, int]]:
        """Return the intervals in order."""
        return list(zip(self._starts, self._ends, strict=True))

    def copy(self) -> Ranges:
        """Return a set of its own."""
        return Ranges(self.intervals())
