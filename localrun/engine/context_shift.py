"""Context shift: generation continues at the end of the context by dropping old tokens.

    [ kept | dropped | remaining ]   ->   [ kept | remaining ]
    0      num_keep                       0      num_keep

A medium is dropped or kept as a whole. The KV cache cells are not moved: other sequences may share
them, and a recurrent state cannot be cut. The sequence is preempted instead, and the remaining
tokens are computed again like any prompt, with the kept part from the prefix cache. Text, stop
strings, constraint and sampler are not affected.
"""

from __future__ import annotations

from dataclasses import dataclass

from localrun.prefixes import border_before, border_behind

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

    def apply(self, tokens: list[int]) -> range:
        """Drop half of the tokens behind the kept ones, in place; return their old indexes."""
        first = border_before(tokens, self.num_keep)
        end = border_behind(tokens, first + max(1, (len(tokens) - first) // 2))
        del tokens[first:end]
        return range(first, end)
