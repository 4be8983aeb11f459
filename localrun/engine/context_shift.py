"""Go on at the end of the context without the oldest part of what stands in it.

    [ kept | dropped | rest ]   ->   [ kept | rest ]
    0      num_keep                  0      num_keep

The cells are not moved: others may share them, and a recurrent state cannot be cut.
The sequence gives them back and what is left is computed anew as any prompt is,
with the kept part from the prefix cache. Text, stop strings, constraint and
sampler know nothing of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from localrun.engine.sequence import Sequence

LARGEST_KEPT = 0.5  # of the context: each shift drops a quarter of it at least
CONTEXTS = 10  # an answer without a limit ends after so many contexts


@dataclass(frozen=True, slots=True)
class ContextShift:
    """When to drop tokens, and how many to keep; ``num_keep`` is at most half of ``edge``."""

    edge: int  # tokens that the context holds
    num_keep: int

    @classmethod
    def keeping(cls, num_keep: int, edge: int) -> ContextShift:
        """Return the shift that keeps so many tokens, or as many as may be."""
        return cls(edge, min(num_keep, int(edge * LARGEST_KEPT)))

    def is_due(self, seq: Sequence) -> bool:
        """Return whether the context is full."""
        return len(seq.tokens) >= self.edge

    def apply(self, seq: Sequence) -> None:
        """Drop half of what is not kept; the sequence must not run."""
        count = max(1, (len(seq.tokens) - self.num_keep) // 2)
        del seq.tokens[self.num_keep : self.num_keep + count]
        seq.num_dropped += count
