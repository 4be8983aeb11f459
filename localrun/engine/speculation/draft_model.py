"""Draft tokens from a second, smaller model with the same vocabulary (draft model).

The draft model has a context of its own, whose sequences follow those of the target model: each
call adds the new tokens, removes rejected ones, and continues greedily from there. Its prefixes
are cached as the target's are. Invariant: a draft model never fails a request; without free
cells or slots it proposes no draft tokens.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from localrun.engine.engine import OutOfCellsError
from localrun.engine.params import SamplingParams
from localrun.engine.scheduler import CELLS_AHEAD, ScheduledChunk
from localrun.engine.sequence import Sequence

if TYPE_CHECKING:
    from collections.abc import Mapping

    from localrun.engine.cache.kv_cache import KvCache
    from localrun.engine.engine import Backend
    from localrun.engine.llama.model import Model

ACCEPTANCE = 0.9  # before the first results: the budget bounds what this costs
MAX_EXTRA_TOKENS = 128  # of the target: padding, or tokens that the draft never generates
GREEDY = SamplingParams(temperature=0)


@dataclass(slots=True)
class _DraftSequence:
    """Sequence of the draft model; its first ``num_verified`` tokens are the target's."""

    seq: Sequence
    num_verified: int
    num_dropped: int  # tokens that context shifts of the target removed


class DraftModel:
    """Draft source: greedy decoding of a second model."""

    name = "draft model"
    estimates_by_text = False

    def __init__(
        self, backend: Backend, cache: KvCache, step_tokens: int, *, num_vocab: int
    ) -> None:
        self._backend = backend
        self._cache = cache
        self._step_tokens = step_tokens
        self._num_vocab = num_vocab
        self._followers: dict[Sequence, _DraftSequence] = {}  # by the sequence of the target
        self._unsupported: set[Sequence] = set()  # with tokens that the draft model does not have
        self._request_ids = count()

    def acceptance(self, seq: Sequence) -> float | None:
        """Return the expected acceptance rate, or None without a draft."""
        if not seq.uses_draft_model or seq in self._unsupported:
            return None
        if seq.has_media:  # it has no encoder
            return None
        return ACCEPTANCE if seq in self._followers or self._cache.has_free_slot else None

    def drafts(self, lengths: Mapping[Sequence, int]) -> dict[Sequence, tuple[int, ...]]:
        """Return at most ``lengths[seq]`` tokens for each sequence; none during its prefill."""
        drafts = {seq: draft for seq in lengths if (draft := self._follow(seq)) is not None}
        ready = self._step(list(drafts.values()))
        for number in range(1, max(lengths.values())):
            longer = [seq for seq in lengths if lengths[seq] > number and drafts.get(seq) in ready]
            if not longer or not self._step([drafts[seq] for seq in longer]):
                break
        return {
            seq: tuple(draft.tokens[len(seq.tokens) :])
            for seq, draft in drafts.items()
            if draft in ready
        }

    def retire(self, seq: Sequence) -> None:
        """Forget a sequence; its computed tokens stay as a cached prefix."""
        self._unsupported.discard(seq)
        self._close(seq)

    def _close(self, seq: Sequence) -> None:
        follower = self._followers.pop(seq, None)
        if follower is not None:
            self._cache.free(follower.seq)
            self._backend.retire(follower.seq)

    def _follow(self, seq: Sequence) -> Sequence | None:
        """Return the draft model's sequence with exactly the target's tokens."""
        follower = self._followers.get(seq)
        if follower is not None and follower.num_dropped != seq.num_dropped:
            self._close(seq)
            follower = None
        num_verified = follower.num_verified if follower else 0
        if max(seq.tokens[num_verified:], default=0) >= self._num_vocab:
            self._close(seq)  # llama.cpp would reject the whole batch
            self._unsupported.add(seq)
            return None
        if follower is None:
            return self._open(seq)
        draft, num_equal = follower.seq, num_verified
        limit = min(len(draft.tokens), len(seq.tokens))
        while num_equal < limit and draft.tokens[num_equal] == seq.tokens[num_equal]:
            num_equal += 1
        draft.tokens[num_equal:] = seq.tokens[num_equal:]
        follower.num_verified = len(seq.tokens)
        num_valid = min(num_equal, len(draft.tokens) - 1)  # the logits of the last are needed
        if draft.num_computed > num_valid:
            draft.num_computed = num_valid
            self._cache.truncate(draft)
        return draft

    def _open(self, seq: Sequence) -> Sequence | None:
        draft = Sequence(
            request_id=next(self._request_ids),
            tokens=[*seq.tokens],
            max_tokens=seq.max_tokens,
            sampling=GREEDY,
        )
        if not self._cache.has_free_slot or not self._cache.allocate(draft, CELLS_AHEAD):
            return None
        self._followers[seq] = _DraftSequence(draft, len(seq.tokens), seq.num_dropped)
        return draft

    def _step(self, drafts: list[Sequence]) -> list[Sequence]:
        """Compute pending tokens within one step; return the sequences that got a token."""
        chunks: list[ScheduledChunk] = []
        budget = self._step_tokens
        for draft in drafts:
            if budget:
                chunks.append(ScheduledChunk(draft, min(draft.num_pending, budget)))
                budget -= chunks[-1].num_tokens
        if not chunks or not self._cache.reserve(sum(chunk.num_tokens for chunk in chunks)):
            return []
        last = [chunk.seq for chunk in chunks if chunk.is_last]
        try:
            sampled = self._backend.forward(chunks)
        except OutOfCellsError:
            return []
        for chunk in chunks:
            chunk.seq.num_computed += chunk.num_tokens
        for draft, tokens in zip(last, sampled, strict=True):
            draft.tokens += tokens
        return last


def incompatibility(target: Model, draft: Model) -> str | None:
    """Return why a model cannot be the draft model of another, or None if it can."""
    if not (target.shares_cells and draft.shares_cells):
        return "both models need full attention, which can take rejected tokens back"
    if not 0 <= target.num_vocab - draft.num_vocab <= MAX_EXTRA_TOKENS:
        return f"it has {draft.num_vocab} tokens, the model {target.num_vocab}"
    if any(map(operator.ne, target.pieces, draft.pieces)):  # up to the draft model's last token
        return "its tokens spell other text than the model's"
    return None
