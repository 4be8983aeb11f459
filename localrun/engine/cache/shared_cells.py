"""Which slots hold the same cells.

A slot that was forked from another holds its first cells too. The cells of all slots are
a tree of such forks, so a slot adds to those before it what is behind the longest part
that it has in common with one of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class SharedCells:
    """How many first cells each two slots hold together."""

    def __init__(self) -> None:
        self._common: dict[int, dict[int, int]] = {}  # by both slots; none of them 0

    def between(self, slot: int, other: int) -> int:
        """Return how many first cells both hold."""
        return self._common.get(slot, {}).get(other, 0)

    def fork(self, source: int, target: int, length: int) -> None:
        """Let an empty slot hold the first cells of another."""
        known = dict(self._common.get(source, {}))
        for other, common in known.items():
            self._set(target, other, min(length, common))
        self._set(source, target, length)

    def cut(self, slot: int, length: int) -> None:
        """Let a slot hold no more than its first ``length`` cells."""
        for other, common in dict(self._common.get(slot, {})).items():
            self._set(slot, other, min(length, common))

    def num_distinct(self, lengths: Mapping[int, int]) -> int:
        """Return the number of cells that slots with so many each hold together."""
        if not self._common:
            return sum(lengths.values())
        total, before = 0, list[int]()
        for slot, length in lengths.items():
            total += length - max((self.between(slot, other) for other in before), default=0)
            before.append(slot)
        return total

    def _set(self, slot: int, other: int, length: int) -> None:
        for one, two in ((slot, other), (other, slot)):
            if length:
                self._common.setdefault(one, {})[two] = length
            elif one in self._common:
                self._common[one].pop(two, None)
                if not self._common[one]:
                    del self._common[one]
