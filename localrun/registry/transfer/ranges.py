"""Download ranges: the bytes of a file that are on disk, as disjoint half-open intervals."""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Ranges:
    """Set of byte positions, stored as intervals ``[start, end)``."""

    def __init__(self, intervals: Iterable[tuple[int, int]] = ()) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        for start, end in intervals:
            self.add(start, end)

    def add(self, start: int, end: int) -> None:
        """Add the positions from ``start`` to before ``end``; merge touching intervals."""
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
        """Return the end of the interval that contains a position, or the position itself."""
        index = bisect.bisect_right(self._starts, position) - 1
        if index >= 0 and position < self._ends[index]:
            return self._ends[index]
        return position

    def gap_from(self, position: int, size: int) -> tuple[int, int] | None:
        """Return the first missing interval between ``position`` and ``size``, or None."""
        start = self.end_of(position)
        if start >= size:
            return None
        index = bisect.bisect_right(self._starts, start)
        end = self._starts[index] if index < len(self._starts) else size
        return start, min(end, size)

    @property
    def total(self) -> int:
        """Return the number of positions."""
        return sum(self._ends) - sum(self._starts)

    def intervals(self) -> list[tuple[int, int]]:
        """Return the intervals in order."""
        return list(zip(self._starts, self._ends, strict=True))

    def copy(self) -> Ranges:
        """Return an independent copy."""
        return Ranges(self.intervals())
