"""Speculative decoding: draft tokens for the sequences that decode, verified by the next step.

An accepted draft token costs a part of the step that it saves; a rejected one costs as much and
saves nothing. Each draft source is used as far as its tokens were accepted for the sequence
before, and as far as it saves time (`DraftBudget`). Invariant: sampled tokens do not depend on
draft tokens (see `Backend.forward`). All methods run on the engine thread.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from localrun.engine.speculation.draft_budget import DraftBudget
from localrun.engine.speculation.predicted_output import PredictedOutput

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from collections.abc import Sequence as Sequences

    from localrun.engine.scheduler import ScheduledChunk
    from localrun.engine.sequence import Sequence

MAX_DRAFTS = 32  # of all sequences in one step: each needs an output of logits
MIN_ACCEPTANCE = 0.4
PRIOR_WEIGHT = 4.0  # of a source's own estimate, in verified tokens
DECAY = 0.9  # weight of earlier results at each new draft


class DraftSource(Protocol):
    """Source of draft tokens."""

    def acceptance(self, seq: Sequence) -> float | None:
        """Return the expected acceptance rate, or None without a draft."""

    def drafts(self, lengths: Mapping[Sequence, int]) -> dict[Sequence, tuple[int, ...]]:
        """Return at most ``lengths[seq]`` tokens for each sequence."""

    def retire(self, seq: Sequence) -> None:
        """Forget a sequence."""


class ForcedTokens:
    """Draft source of tokens that a grammar leaves no choice about."""

    ACCEPTANCE = 0.9  # other tokens may spell the same text

    def __init__(self) -> None:
        self._forced: dict[Sequence, tuple[int, ...]] = {}

    def acceptance(self, seq: Sequence) -> float | None:
        """Return the expected acceptance rate, or None without a draft."""
        tokens = seq.constraint.forced() if seq.constraint is not None else []
        self._forced[seq] = tuple(tokens)
        return self.ACCEPTANCE if tokens else None

    def drafts(self, lengths: Mapping[Sequence, int]) -> dict[Sequence, tuple[int, ...]]:
        """Return at most ``lengths[seq]`` tokens for each sequence."""
        return {seq: self._forced[seq][:length] for seq, length in lengths.items()}

    def retire(self, seq: Sequence) -> None:
        """Forget a sequence."""
        self._forced.pop(seq, None)


@dataclass(slots=True)
class _Record:
    """Accepted and rejected tokens of one source for one sequence; old results weigh less."""

    accepted: float = 0.0
    rejected: float = 0.0

    def add(self, num_accepted: int, *, was_rejected: bool) -> None:
        self.accepted = DECAY * self.accepted + num_accepted
        self.rejected = DECAY * self.rejected + was_rejected

    def acceptance(self, prior: float) -> float:
        num_verified = self.accepted + self.rejected
        return (self.accepted + PRIOR_WEIGHT * prior) / (num_verified + PRIOR_WEIGHT)


@dataclass(slots=True)
class _SourceState:
    """A draft source with its budget and its records by sequence."""

    source: DraftSource
    budget: DraftBudget = field(default_factory=DraftBudget)
    records: dict[Sequence, _Record] = field(default_factory=dict)

    def propose(
        self, decoding: Sequences[Sequence], longest: int
    ) -> dict[Sequence, tuple[int, ...]]:
        acceptances: dict[Sequence, float] = {}
        for seq in decoding:
            if max_draft_length(seq) <= 0:
                continue
            prior = self.source.acceptance(seq)
            if prior is not None:
                acceptance = self.records.setdefault(seq, _Record()).acceptance(prior)
                if acceptance >= MIN_ACCEPTANCE:
                    acceptances[seq] = acceptance
        rates = list(acceptances.values())
        length = self.budget.length(len(decoding), rates, longest) if rates else 0
        if not length:
            return {}
        return self.source.drafts({seq: min(length, max_draft_length(seq)) for seq in acceptances})


class Speculator:
    """Choice of a draft source for each step, from the results of earlier steps."""

    def __init__(
        self,
        sources: Sequences[DraftSource],
        *,
        max_drafts: int = MAX_DRAFTS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sources = [_SourceState(source) for source in sources]
        self._max_drafts = max_drafts
        self._clock = clock
        self._used: _SourceState | None = None
        self._drafting_s = 0.0  # time that the draft tokens of this step took

    def propose(self, decoding: Sequences[Sequence]) -> Mapping[Sequence, tuple[int, ...]]:
        """Return draft tokens by sequence, of the first source that has any.

        The more sequences decode, the shorter each draft: a wide batch has no spare compute.
        """
        self._used = None
        for state in self._sources if decoding else ():
            started_at = self._clock()
            drafts = state.propose(decoding, self._max_drafts // len(decoding))
            if drafts:
                self._used, self._drafting_s = state, self._clock() - started_at
                return drafts
        return {}

    def record_step(
        self, chunks: Sequences[ScheduledChunk], sampled: Sequences[Sequences[int]], seconds: float
    ) -> None:
        """Record a step: its chunks, the tokens sampled for those that are last, its time."""
        num_decoding = sum(chunk.seq.is_decoding for chunk in chunks)
        has_prompt = num_decoding < len(chunks)
        num_drafts = sum(len(chunk.drafts) for chunk in chunks)
        if num_drafts and self._used is not None:
            budget = self._used.budget
            if not has_prompt:
                budget.record_draft_step(num_decoding, num_drafts, seconds, self._drafting_s)
            num_accepted = _record(
                self._used, [chunk for chunk in chunks if chunk.is_last], sampled
            )
            budget.settle(num_decoding, num_drafts, num_accepted)
        elif num_decoding and not has_prompt:
            for state in self._sources:
                state.budget.record_plain_step(num_decoding, seconds)

    def retire(self, seq: Sequence) -> None:
        """Forget a sequence that ended."""
        for state in self._sources:
            state.source.retire(seq)
            state.records.pop(seq, None)


def max_draft_length(seq: Sequence) -> int:
    """Return how many draft tokens a sequence may have: a sampled token follows them."""
    length = seq.max_tokens - seq.num_dropped - len(seq.tokens) - 1
    if seq.shift is not None:  # the shift comes before the next token
        length = min(length, seq.shift.edge - len(seq.tokens) - 1)
    requested = seq.sampling.draft_num_predict
    return length if requested is None else min(length, requested)


def _record(
    state: _SourceState, chunks: Sequences[ScheduledChunk], sampled: Sequences[Sequences[int]]
) -> int:
    """Record which draft tokens were accepted; return their number."""
    total = 0
    for chunk, tokens in zip(chunks, sampled, strict=True):
        if chunk.drafts:
            num_accepted = len(tokens) - 1
            state.records[chunk.seq].add(
                num_accepted, was_rejected=num_accepted < len(chunk.drafts)
            )
            if isinstance(state.source, PredictedOutput):
                chunk.seq.num_predicted += len(chunk.drafts)
                chunk.seq.num_predicted_accepted += num_accepted
            total += num_accepted
    return total
