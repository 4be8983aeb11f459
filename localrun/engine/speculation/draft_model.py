"""Guess by a second, smaller model with the same vocabulary.

It has a context of its own, whose sequences follow those of the target: each call takes
in what is new, drops what the target did not draw, and goes on from there greedily. Its
prefixes are cached as the target's are. Nothing here can fail a request: without room
there is no guess.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from localrun.engine.engine import OutOfCellsError
from localrun.engine.params import SamplingParams
from localrun.engine.scheduler import CELLS_AHEAD, ScheduledChunk
from localrun.engine.sequence import Sequence

if TYPE_CHECKING:
    from collections.abc import Mapping

    from localrun.engine.engine import Backend
    from localrun.engine.llama.model import Model
    from localrun.engine.scheduler import Cache

TRUST = 0.7
GREEDY = SamplingParams(temperature=0)


@dataclass(slots=True)
class _Shadow:
    """A sequence of the draft model; its first ``num_sure`` tokens are the target's."""

    seq: Sequence
    num_sure: int
    num_dropped: int  # tokens that the target's shifts took out


class DraftModel:
    """Guesses for the sequences of a target model."""

    def __init__(self, backend: Backend, cache: Cache, step_tokens: int, *, num_vocab: int) -> None:
        self._backend = backend
        self._cache = cache
        self._step_tokens = step_tokens
        self._num_vocab = num_vocab
        self._shadows: dict[Sequence, _Shadow] = {}
        self._strange: set[Sequence] = set()  # with tokens that the draft model does not have
        self._numbers = count()

    def trust(self, seq: Sequence) -> float | None:
        """Return the share of right tokens to expect, None without a guess."""
        if seq in self._strange:
            return None
        return TRUST if seq in self._shadows or self._cache.has_slot else None

    def drafts(self, counts: Mapping[Sequence, int]) -> dict[Sequence, tuple[int, ...]]:
        """Return at most so many tokens for each sequence; none while it is behind."""
        shadows = {seq: shadow for seq in counts if (shadow := self._follow(seq)) is not None}
        ready = self._step(list(shadows.values()))
        for number in range(1, max(counts.values())):
            wanted = [seq for seq in counts if counts[seq] > number and shadows.get(seq) in ready]
            if not wanted or not self._step([shadows[seq] for seq in wanted]):
                break
        return {
            seq: tuple(shadow.tokens[len(seq.tokens) :])
            for seq, shadow in shadows.items()
            if shadow in ready
        }

    def retire(self, seq: Sequence) -> None:
        """Forget a sequence; what was computed of it stays as a cached prefix."""
        self._strange.discard(seq)
        self._close(seq)

    def _close(self, seq: Sequence) -> None:
        shadow = self._shadows.pop(seq, None)
        if shadow is not None:
            self._cache.close(shadow.seq)
            self._backend.retire(shadow.seq)

    def _follow(self, seq: Sequence) -> Sequence | None:
        """Return the draft model's sequence with exactly the target's tokens."""
        known = self._shadows.get(seq)
        if known is not None and known.num_dropped != seq.num_dropped:
            self._close(seq)
            known = None
        if max(seq.tokens[known.num_sure if known else 0 :], default=0) >= self._num_vocab:
            self._close(seq)  # llama.cpp would refuse the whole step
            self._strange.add(seq)
            return None
        if known is None:
            return self._open(seq)
        shadow, same = known.seq, known.num_sure
        most = min(len(shadow.tokens), len(seq.tokens))
        while same < most and shadow.tokens[same] == seq.tokens[same]:
            same += 1
        shadow.tokens[same:] = seq.tokens[same:]
        known.num_sure = len(seq.tokens)
        valid = min(same, len(shadow.tokens) - 1)  # the last one's logits are needed
        if shadow.num_computed > valid:
            shadow.num_computed = valid
            self._cache.cut(shadow)
        return shadow

    def _open(self, seq: Sequence) -> Sequence | None:
        shadow = Sequence(
            request_id=next(self._numbers),
            tokens=[*seq.tokens],
            max_tokens=seq.max_tokens,
            sampling=GREEDY,
        )
        if not self._cache.has_slot or not self._cache.open(shadow, CELLS_AHEAD):
            return None
        self._shadows[seq] = _Shadow(shadow, len(seq.tokens), seq.num_dropped)
        return shadow

    def _step(self, shadows: list[Sequence]) -> list[Sequence]:
        """Compute what is pending, as far as one step goes; return those that got a token."""
        rows: list[ScheduledChunk] = []
        budget = self._step_tokens
        for shadow in shadows:
            if budget:
                rows.append(ScheduledChunk(shadow, min(shadow.num_pending, budget)))
                budget -= rows[-1].count
        if not rows or not self._cache.reserve(sum(row.count for row in rows)):
            return []
        last = [row.seq for row in rows if row.is_last]
        try:
            runs = self._backend.forward(rows)
        except OutOfCellsError:
            return []
        for row in rows:
            row.seq.num_computed += row.count
        for shadow, run in zip(last, runs, strict=True):
            shadow.tokens += run
        return last


MOST_EXTRA_TOKENS = 128  # of the target: padding, or marks for what the draft never writes


def unfit(target: Model, draft: Model) -> str | None:
    """Return why a model cannot draft for another one, None when it can."""
    if not (target.shares_cells and draft.shares_cells):
        return "both need full attention, which can take back what was wrong"
    if not 0 <= target.num_vocab - draft.num_vocab <= MOST_EXTRA_TOKENS:
        return f"it has {draft.num_vocab} tokens, the model {target.num_vocab}"
    if target.pieces[: draft.num_vocab] != draft.pieces:
        return "its tokens spell other text than the model's"
    return None
