"""Guess the next tokens of sequences, so that one step can check several of them.

A right guess costs a part of the step that it spares, a wrong one costs as much for nothing.
Each source of guesses is trusted as far as it was right for the sequence before, and
used as far as it pays (`DraftBudget`). What is drawn does not depend on guesses: see
`Backend.forward`.
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

MOST_DRAFTS = 32  # of all sequences in one step: each holds a row of logits
LEAST_TRUST = 0.4
PRIOR_WEIGHT = 4.0  # of a source's own word, in tokens that were seen right or wrong
KEPT = 0.9  # of what was seen before, at each new guess


class DraftSource(Protocol):
    """Something that guesses."""

    def trust(self, seq: Sequence) -> float | None:
        """Return the share of right tokens to expect, None without a guess."""

    def drafts(self, counts: Mapping[Sequence, int]) -> dict[Sequence, tuple[int, ...]]:
        """Return at most so many tokens for each sequence."""

    def retire(self, seq: Sequence) -> None:
        """Forget a sequence."""


class ForcedTokens:
    """Guesses what a grammar leaves no choice about."""

    TRUST = 0.9  # the same text may be spelled by other tokens

    def __init__(self) -> None:
        self._found: dict[Sequence, tuple[int, ...]] = {}

    def trust(self, seq: Sequence) -> float | None:
        """Return the share of right tokens to expect, None without a guess."""
        tokens = seq.constraint.forced() if seq.constraint is not None else []
        self._found[seq] = tuple(tokens)
        return self.TRUST if tokens else None

    def drafts(self, counts: Mapping[Sequence, int]) -> dict[Sequence, tuple[int, ...]]:
        """Return at most so many tokens for each sequence."""
        return {seq: self._found[seq][:number] for seq, number in counts.items()}

    def retire(self, seq: Sequence) -> None:
        """Forget a sequence."""
        self._found.pop(seq, None)


@dataclass(slots=True)
class _Record:
    """How often a source was right about a sequence; what is long ago counts less."""

    right: float = 0.0
    wrong: float = 0.0

    def note(self, num_right: int, *, was_wrong: bool) -> None:
        self.right = KEPT * self.right + num_right
        self.wrong = KEPT * self.wrong + was_wrong

    def trust(self, prior: float) -> float:
        seen = self.right + self.wrong
        return (self.right + PRIOR_WEIGHT * prior) / (seen + PRIOR_WEIGHT)


@dataclass(slots=True)
class _Desk:
    """A source and what is known of it."""

    source: DraftSource
    economy: DraftBudget = field(default_factory=DraftBudget)
    records: dict[Sequence, _Record] = field(default_factory=dict)

    def propose(self, decoding: Sequences[Sequence], most: int) -> dict[Sequence, tuple[int, ...]]:
        trusts: dict[Sequence, float] = {}
        for seq in decoding:
            if room_of(seq) <= 0:
                continue
            prior = self.source.trust(seq)
            if prior is not None:
                trust = self.records.setdefault(seq, _Record()).trust(prior)
                if trust >= LEAST_TRUST:
                    trusts[seq] = trust
        length = self.economy.length(len(decoding), list(trusts.values()), most) if trusts else 0
        if not length:
            return {}
        return self.source.drafts({seq: min(length, room_of(seq)) for seq in trusts})


class Speculator:
    """Asks the sources in turn, and learns from what became of their guesses."""

    def __init__(
        self,
        sources: Sequences[DraftSource],
        *,
        most_drafts: int = MOST_DRAFTS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._desks = [_Desk(source) for source in sources]
        self._most_drafts = most_drafts
        self._clock = clock
        self._used: _Desk | None = None
        self._making_s = 0.0  # what the guesses of this step took

    def propose(self, decoding: Sequences[Sequence]) -> Mapping[Sequence, tuple[int, ...]]:
        """Return guesses for some of the sequences that decode, of the first source that has any.

        The more sequences, the less each may have: with many, a step has no time to spare.
        """
        self._used = None
        for desk in self._desks if decoding else ():
            begun = self._clock()
            drafts = desk.propose(decoding, self._most_drafts // len(decoding))
            if drafts:
                self._used, self._making_s = desk, self._clock() - begun
                return drafts
        return {}

    def note(
        self, rows: Sequences[ScheduledChunk], runs: Sequences[Sequences[int]], seconds: float
    ) -> None:
        """Learn from a step: its rows, what was drawn for those that are last, its time."""
        num_decoding = sum(row.seq.is_decoding for row in rows)
        has_prompt = num_decoding < len(rows)
        num_drafts = sum(len(row.drafts) for row in rows)
        if num_drafts and self._used is not None:
            economy = self._used.economy
            if not has_prompt:
                economy.note_guessed(num_decoding, num_drafts, seconds, self._making_s)
            num_right = _count(self._used, [row for row in rows if row.is_last], runs)
            economy.settle(num_decoding, num_drafts, num_right)
        elif num_decoding and not has_prompt:
            for desk in self._desks:
                desk.economy.note_plain(num_decoding, seconds)

    def retire(self, seq: Sequence) -> None:
        """Forget a sequence that ended."""
        for desk in self._desks:
            desk.source.retire(seq)
            desk.records.pop(seq, None)


def room_of(seq: Sequence) -> int:
    """Return how many tokens may be guessed: behind them comes one that is drawn."""
    left = seq.max_tokens - seq.num_dropped - len(seq.tokens) - 1
    if seq.shift is not None:  # which comes before the next token
        left = min(left, seq.shift.edge - len(seq.tokens) - 1)
    wanted = seq.sampling.draft_num_predict
    return left if wanted is None else min(left, wanted)


def _count(desk: _Desk, rows: Sequences[ScheduledChunk], runs: Sequences[Sequences[int]]) -> int:
    """Record which drafts were right; return the number of these."""
    total = 0
    for row, run in zip(rows, runs, strict=True):
        if row.drafts:
            right = len(run) - 1
            desk.records[row.seq].note(right, was_wrong=right < len(row.drafts))
            if isinstance(desk.source, PredictedOutput):
                row.seq.num_predicted += len(row.drafts)
                row.seq.num_predicted_right += right
            total += right
    return total
