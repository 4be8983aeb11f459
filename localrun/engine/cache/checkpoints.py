"""Copies of states in host memory, to begin other sequences from.

A state cannot go back, but a copy of what it was after so many tokens can be put in its
place. The copy has the part of the memory that cannot be cut and no more: cells of full
attention stay where they are (llama.cpp's PARTIAL_ONLY).

Law: the copies take no more than the budget; the one that was used longest ago goes first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Sequence as Sequences

    from localrun.engine.llama.lora_adapters import AdapterSet

LEAST_BUDGET_BYTES = 64 * 2**20
MOST_BUDGET_BYTES = 512 * 2**20  # four windows of a 4B model with 29 layers of them
BUDGET_SHARE = 4  # or one in so many bytes of the weights, since copies grow with a model


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What the memory was after these tokens."""

    tokens: tuple[int, ...]
    adapters: AdapterSet

    @property
    def length(self) -> int:
        """Return the number of tokens."""
        return len(self.tokens)


def budget_for(weight_bytes: int) -> int:
    """Return how many bytes the copies of a model's states may take."""
    return min(MOST_BUDGET_BYTES, max(LEAST_BUDGET_BYTES, weight_bytes // BUDGET_SHARE))


class Checkpoints:
    """The copies, found by the tokens that they were computed from."""

    def __init__(self, budget_bytes: int) -> None:
        self._budget_bytes = budget_bytes
        self._data: dict[Checkpoint, memoryview] = {}  # longest unused first
        self.num_bytes = 0

    def find(self, tokens: Sequences[int], adapters: AdapterSet) -> Iterator[Checkpoint]:
        """Yield those that are a beginning of ``tokens``, or all of them, longest first."""
        wanted = tuple(tokens)
        fitting = [
            one
            for one in self._data
            if one.length <= len(wanted)
            and one.tokens[-1] == wanted[one.length - 1]  # for a quick no
            and one.adapters == adapters
        ]
        for one in sorted(fitting, key=lambda one: one.length, reverse=True):
            if one.tokens == wanted[: one.length]:
                yield one

    def use(self, checkpoint: Checkpoint) -> memoryview | None:
        """Return the copy, which counts as used now; None when there is none."""
        data = self._data.pop(checkpoint, None)
        if data is not None:
            self._data[checkpoint] = data
        return data

    def add(self, checkpoint: Checkpoint, data: memoryview) -> None:
        """Keep a new copy if it is not larger than the budget."""
        if data.nbytes > self._budget_bytes:
            return
        self._data[checkpoint] = data
        self.num_bytes += data.nbytes
        while self.num_bytes > self._budget_bytes:
            self.num_bytes -= self._data.pop(next(iter(self._data))).nbytes

    def clear(self) -> None:
        """Forget all."""
        self._data.clear()
        self.num_bytes = 0
