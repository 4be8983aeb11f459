"""Leaders: running sequences that are computing the beginning of a waiting one.

A sequence that waits for its leader shares that part of the prompt instead of computing it again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.prefixes import border_before, common_prefix_length

if TYPE_CHECKING:
    from collections.abc import Sequence as Sequences

    from localrun.engine.cache.kv_cache import KvCache
    from localrun.engine.sequence import Sequence


@dataclass(frozen=True, slots=True)
class _Leader:
    """A running sequence that is computing the beginning of a waiting one."""

    seq: Sequence
    length: int  # tokens in common

    @property
    def is_busy(self) -> bool:
        """Return whether part of the common beginning is not computed yet."""
        return self.seq.slot is not None and self.seq.num_computed < self.length


class PrefixLeaders:
    """The leaders of waiting sequences."""

    def __init__(self, cache: KvCache, min_shared_tokens: int) -> None:
        self._cache = cache
        self._min_shared_tokens = min_shared_tokens
        self._leaders: dict[int, _Leader] = {}  # by the request id of the waiting sequence

    def has_busy(self, seq: Sequence, running: Sequences[Sequence]) -> bool:
        """Return whether a running sequence is about to compute tokens that this one can share."""
        known = self._leaders.get(seq.request_id)
        if known is not None and known.is_busy:
            return True
        leader = self._find(seq, running)
        if leader is None:
            self.forget(seq)
        else:
            self._leaders[seq.request_id] = leader
        return leader is not None

    def forget(self, seq: Sequence) -> None:
        """Forget the leader of a sequence."""
        self._leaders.pop(seq.request_id, None)

    def _find(self, seq: Sequence, running: Sequences[Sequence]) -> _Leader | None:
        leaders = [
            _Leader(other, _num_common(seq, other))
            for other in running
            if other.num_pending > 1 and other.adapters == seq.adapters and _may_lead(other, seq)
        ]
        best = max(leaders, key=lambda leader: leader.length, default=None)
        if best is None or best.length - best.seq.num_computed < self._min_shared_tokens:
            return None
        return best if self._cache.prepare_sharing(best.seq, seq, best.length) else None


def _num_common(seq: Sequence, other: Sequence) -> int:
    """Return how many first tokens can be shared, up to a border of media."""
    num_common = common_prefix_length(seq.tokens, other.tokens)
    return border_before(seq.tokens, min(seq.num_cacheable, num_common))


def _may_lead(leader: Sequence, seq: Sequence) -> bool:
    """Return whether a sequence may wait for another: never for one that gives way to it."""
    return seq.is_background or not leader.is_background
