"""Decide which tokens the next forward pass computes.

Policy: first come, first served. Sequences that decode take one token each; what
is left of the step's budget goes to prompts, oldest first. While others decode,
prompts get a smaller budget, so that running streams stay smooth. Nothing is
reserved for tokens that may come: when the cache is full, the youngest sequence
gives its cells back and is computed again later (`preempt_youngest`).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from localrun.engine.sequence import Sequence

STEP_TOKENS = 512
CELLS_AHEAD = 16  # a sequence is admitted when its prompt and this many cells are free


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one step and one cache can take."""

    num_slots: int  # sequences that run together
    num_cells: int  # tokens that the KV cache holds
    step_tokens: int = STEP_TOKENS
    shared_prefill_tokens: int = 128  # for prompts in a step in which others decode


@dataclass(frozen=True, slots=True)
class Row:
    """``count`` pending tokens of one sequence."""

    seq: Sequence
    count: int

    @property
    def is_last(self) -> bool:
        """Tell whether nothing is pending after this row, so that a token is drawn."""
        return self.count == self.seq.num_pending


class Scheduler:
    """Admit and order sequences. Pure bookkeeping: no clock, thread or tensor."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._waiting: deque[Sequence] = deque()
        self._running: list[Sequence] = []
        self._free_slots = list(range(limits.num_slots - 1, -1, -1))

    @property
    def has_work(self) -> bool:
        """Tell whether any sequence waits or runs."""
        return bool(self._waiting or self._running)

    @property
    def running(self) -> tuple[Sequence, ...]:
        """Return the running sequences, oldest first."""
        return tuple(self._running)

    @property
    def num_waiting(self) -> int:
        """Return the number of sequences without a slot."""
        return len(self._waiting)

    def add(self, seq: Sequence) -> None:
        """Queue a sequence behind all others."""
        self._waiting.append(seq)

    def admit(self) -> list[Sequence]:
        """Give slots to waiting sequences as far as slots and cells reach; return these."""
        admitted = []
        used = sum(len(seq.tokens) for seq in self._running)
        while self._waiting and self._free_slots:
            seq = self._waiting[0]
            needed = len(seq.tokens) + CELLS_AHEAD
            if self._running and used + needed > self._limits.num_cells:
                break
            used += needed
            seq.slot = self._free_slots.pop()
            self._running.append(self._waiting.popleft())
            admitted.append(seq)
        return admitted

    def compose(self) -> list[Row]:
        """Return the rows of the next step: decoding sequences first, then prompts."""
        rows = [Row(seq, 1) for seq in self._running if seq.is_decoding]
        budget = self._limits.step_tokens - len(rows)
        if rows:
            budget = min(budget, self._limits.shared_prefill_tokens)
        for seq in self._running:
            count = min(seq.num_pending, budget)
            if count > 0 and not seq.is_decoding:
                rows.append(Row(seq, count))
                budget -= count
        return rows

    def preempt_youngest(self) -> Sequence | None:
        """Send the youngest running sequence back to the head of the queue.

        None when it is the only one: then there is nobody to make room for.
        """
        if len(self._running) <= 1:
            return None
        seq = self._running.pop()
        seq.num_computed = 0
        self._waiting.appendleft(seq)
        return seq

    def remove(self, seq: Sequence) -> None:
        """Forget a sequence that ended, wherever it is."""
        if seq in self._running:
            self._running.remove(seq)
        elif seq in self._waiting:
            self._waiting.remove(seq)

    def free_slot(self, seq: Sequence) -> None:
        """Take back the slot of a sequence whose cells are free again."""
        if seq.slot is not None:
            self._free_slots.append(seq.slot)
            seq.slot = None
