"""Checkpoints: copies of states in host memory, from which other sequences can begin.

A state cannot be cut, but a copy that was saved after some tokens can replace it. A copy has
only the part of the memory that cannot be cut (llama.cpp's PARTIAL_ONLY); cells of full
attention stay where they are.

Invariant: the copies take no more than the budget; the one that was used longest ago is
evicted first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Sequence as Sequences

    from localrun.engine.llama.lora_adapters import AdapterSet

MIN_BUDGET_BYTES = 64 * 2**20
MAX_BUDGET_BYTES = 512 * 2**20  # four windows of a 4B model with 29 layers of them
BUDGET_SHARE = 4  # one in so many bytes of the weights, since copies grow with a model


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The tokens and adapters that a state was computed from."""

    tokens: tuple[int, ...]
    adapters: AdapterSet

    @property
    def length(self) -> int:
        """Return the number of tokens."""
        return len(self.tokens)


def budget_for(weight_bytes: int) -> int:
    """Return how many bytes the checkpoints of a model may take."""
    return min(MAX_BUDGET_BYTES, max(MIN_BUDGET_BYTES, weight_bytes // BUDGET_SHARE))


class Checkpoints:
    """State copies by the tokens that they were computed from."""

    def __init__(self, budget_bytes: int) -> None:
        self._budget_bytes = budget_bytes
        self._data: dict[Checkpoint, memoryview] = {}  # oldest use first
        self.num_bytes = 0

    def find(self, tokens: Sequences[int], adapters: AdapterSet) -> Iterator[Checkpoint]:
        """Yield the checkpoints whose tokens are a prefix of ``tokens``, longest first."""
        prompt = tuple(tokens)
        candidates = [
            checkpoint
            for checkpoint in self._data
            if checkpoint.length <= len(prompt)
            and checkpoint.tokens[-1] == prompt[checkpoint.length - 1]  # rules most out quickly
            and checkpoint.adapters == adapters
        ]
        for checkpoint in sorted(candidates, key=lambda one: one.length, reverse=True):
            if checkpoint.tokens == prompt[: checkpoint.length]:
                yield checkpoint

    def use(self, checkpoint: Checkpoint) -> memoryview | None:
        """Return the copy and count it as used now; None if it was evicted or never added."""
        data = self._data.pop(checkpoint, None)
        if data is not None:
            self._data[checkpoint] = data
        return data

    def add(self, checkpoint: Checkpoint, data: memoryview) -> None:
        """Add a copy, evicting the oldest; a copy larger than the budget is dropped."""
        if data.nbytes > self._budget_bytes:
            return
        self._data[checkpoint] = data
        self.num_bytes += data.nbytes
        while self.num_bytes > self._budget_bytes:
            self.num_bytes -= self._data.pop(next(iter(self._data))).nbytes

    def clear(self) -> None:
        """Drop all copies."""
        self._data.clear()
        self.num_bytes = 0
