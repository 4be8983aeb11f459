"""Sequences without a slot: those of interactive requests before those of background requests.

Each of the two parts is first in, first out; a preempted sequence is the next of its part.
"""

from __future__ import annotations

from collections import deque
from itertools import chain, islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from localrun.engine.sequence import Sequence


class WaitingSequences:
    """Queue of sequences that wait for a slot."""

    def __init__(self) -> None:
        self._interactive: deque[Sequence] = deque()
        self._background: deque[Sequence] = deque()

    def __len__(self) -> int:
        return len(self._interactive) + len(self._background)

    def append(self, seq: Sequence) -> None:
        """Add a new sequence behind the others of its part."""
        self._part(seq).append(seq)

    def append_first(self, seq: Sequence) -> None:
        """Add a preempted sequence before the others of its part."""
        self._part(seq).appendleft(seq)

    def remove(self, seq: Sequence) -> None:
        """Remove a sequence that waits."""
        self._part(seq).remove(seq)

    def first(self, num_sequences: int) -> list[Sequence]:
        """Return at most ``num_sequences``, the next one first."""
        return list(islice(chain(self._interactive, self._background), num_sequences))

    def _part(self, seq: Sequence) -> deque[Sequence]:
        return self._background if seq.is_background else self._interactive
