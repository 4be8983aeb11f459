"""Context shift: generation continues at the end of the context by dropping old tokens.

    [ kept | dropped | remaining ]   ->   [ kept | remaining ]
    0      num_keep                       0      num_keep

The KV cache cells are not moved: other sequences may share them, and a recurrent state cannot
be cut. The sequence is preempted instead, and the remaining tokens are computed again like
any prompt, with the kept part from the prefix cache. Text, stop strings, constraint and
sampler are not affected.
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_KEPT_SHARE = 0.5  # of the context: each shift drops at least a quarter of it
CONTEXTS = 10  # an answer without a limit ends after so many contexts


@dataclass(frozen=True, slots=True)
class ContextShift:
    """When to drop tokens, and how many to keep; ``num_keep`` is at most half of ``edge``."""

    edge: int  # tokens that the context holds
    num_keep: int

    @classmethod
    def keeping(cls, num_keep: int, edge: int) -> ContextShift:
        """Return the shift that keeps ``num_keep`` tokens, or as many as are allowed."""
        return cls(edge, min(num_keep, int(edge * MAX_KEPT_SHARE)))

    def is_due(self, num_tokens: int) -> bool:
        """Return whether the context is full."""
        return num_tokens >= self.edge

    def apply(self, tokens: list[int]) -> int:
        """Drop half of the tokens behind the kept ones, in place; return their number."""
        num_dropped = max(1, (len(tokens) - self.num_keep) // 2)
        del tokens[self.num_keep : self.num_keep + num_dropped]
        return num_dropped
