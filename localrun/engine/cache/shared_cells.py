"""Cells that several slots of a `StateCache` hold together.

A slot that was forked from another holds its first cells too. The cells of all slots form a
tree of such forks, so a slot adds to the slots before it only what is behind the longest
part that it shares with one of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class SharedCells:
    """Number of first cells that each pair of slots shares."""

    def __init__(self) -> None:
        self._lengths: dict[int, dict[int, int]] = {}  # by both slots; no length is 0

    def num_shared(self, slot: int, other: int) -> int:
        """Return how many first cells both slots hold."""
        return self._lengths.get(slot, {}).get(other, 0)

    def fork(self, source: int, target: int, length: int) -> None:
        """Record that an empty slot now shares the first cells of another."""
        lengths = dict(self._lengths.get(source, {}))
        for other, shared in lengths.items():
            self._set(target, other, min(length, shared))
        self._set(source, target, length)

    def truncate(self, slot: int, length: int) -> None:
        """Record that a slot holds no more than its first ``length`` cells."""
        for other, shared in dict(self._lengths.get(slot, {})).items():
            self._set(slot, other, min(length, shared))

    def num_distinct(self, lengths: Mapping[int, int]) -> int:
        """Return the number of cells that slots of these lengths hold together."""
        if not self._lengths:
            return sum(lengths.values())
        total, before = 0, list[int]()
        for slot, length in lengths.items():
            total += length - max((self.num_shared(slot, other) for other in before), default=0)
            before.append(slot)
        return total

    def _set(self, slot: int, other: int, length: int) -> None:
        for one, two in ((slot, other), (other, slot)):
            if length:
                self._lengths.setdefault(one, {})[two] = length
            elif one in self._lengths:
                self._lengths[one].pop(two, None)
                if not self._lengths[one]:
                    del self._lengths[one]
