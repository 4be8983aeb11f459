"""Speculative decoding: draft tokens for the sequences that decode, verified by the next step.

An accepted draft token costs a part of the step that it saves; a rejected one costs as much and
saves nothing. For each sequence and step the policy picks the source and the length of the draft
(`DraftPlanner`), from the measured times of steps (`StepTimes`), from how many tokens of each
source were accepted for the sequence before, and from what each source may still lose
(`DraftBudget`). Invariant: sampled tokens do not depend on draft tokens (see `Backend.forward`).
All methods run on the engine thread.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from localrun.engine.cache.kv_cache import CellLayout
from localrun.engine.speculation.draft_budget import DraftBudget
from localrun.engine.speculation.draft_plan import DraftOption, DraftPlanner
from localrun.engine.speculation.step_times import StepTimes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from collections.abc import Sequence as Sequences

    from localrun.engine.scheduler import ScheduledChunk
    from localrun.engine.sequence import Sequence
    from localrun.engine.speculation.draft_plan import PlannedDraft

MAX_DRAFTS = 32  # of all sequences in one step: each needs an output of logits
PRIOR_WEIGHT = 4.0  # of a source's own estimate, in verified tokens
DECAY = 0.9  # weight of earlier results at each new draft
FADE = 0.99  # weight of earlier results at each step without one, so that a source is tried again
PLANNING = 0.01  # share of a step's time that plans without a draft may take
MAX_PAUSE = 16  # steps between two plans
MAX_DRAFT_STEPS = 64  # in a row: plain steps are measured again, because the machine's load changes
MODEL_DECAY = 0.98  # weight of earlier results of all sequences


class DraftSource(Protocol):
    """Source of draft tokens."""

    name: str  # for users: "prompt lookup"
    estimates_by_text: bool  # its acceptance depends on the text, not on how good the source is

    def acceptance(self, seq: Sequence) -> float | None:
        """Return the expected acceptance rate, or None without a draft."""

    def drafts(self, lengths: Mapping[Sequence, int]) -> dict[Sequence, tuple[int, ...]]:
        """Return at most ``lengths[seq]`` tokens for each sequence."""

    def retire(self, seq: Sequence) -> None:
        """Forget a sequence."""


class ForcedTokens:
    """Draft source of tokens that a grammar leaves no choice about."""

    name = "grammar"
    estimates_by_text = True
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
    """Accepted and rejected tokens of one source; old results weigh less."""

    accepted: float = 0.0
    rejected: float = 0.0
    step: int = 0  # the number of the last result's step

    def add(self, num_accepted: int, *, was_rejected: bool, decay: float, step: int) -> None:
        self.accepted = decay * self.accepted + num_accepted
        self.rejected = decay * self.rejected + was_rejected
        self.step = step

    def acceptance(self, prior: float, step: int) -> float:
        weight = FADE ** (step - self.step)
        num_verified = weight * (self.accepted + self.rejected)
        return (weight * self.accepted + PRIOR_WEIGHT * prior) / (num_verified + PRIOR_WEIGHT)


@dataclass(slots=True)
class _SourceState:
    """A draft source with its budget and its records, of all sequences and by sequence."""

    source: DraftSource
    budget: DraftBudget = field(default_factory=DraftBudget)
    total: _Record = field(default_factory=_Record)
    records: dict[Sequence, _Record] = field(default_factory=dict)

    def acceptance(self, seq: Sequence, step: int) -> float | None:
        """Return the expected acceptance rate of a sequence, or None without a draft."""
        prior = self.source.acceptance(seq)
        if prior is None:
            return None
        if not self.source.estimates_by_text:
            prior = self.total.acceptance(prior, self.total.step)
        record = self.records.get(seq)
        return prior if record is None else record.acceptance(prior, step)

    def add_result(self, seq: Sequence, num_drafted: int, num_accepted: int, step: int) -> None:
        """Record which tokens of a draft were accepted."""
        was_rejected = num_accepted < num_drafted
        record = self.records.setdefault(seq, _Record())
        record.add(num_accepted, was_rejected=was_rejected, decay=DECAY, step=step)
        self.total.add(num_accepted, was_rejected=was_rejected, decay=MODEL_DECAY, step=step)


class Speculator:
    """Choice of draft sources for each step, from the results of earlier steps."""

    def __init__(
        self,
        sources: Sequences[DraftSource],
        *,
        max_drafts: int = MAX_DRAFTS,
        max_length: int = MAX_DRAFTS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``max_length`` is the most draft tokens of one sequence that its memory can take back."""
        self._states = [_SourceState(source) for source in sources]
        self._layout = CellLayout.UNIFIED
        self._times = StepTimes()
        self._times_by_layout = {self._layout: self._times}
        self._planner = DraftPlanner(self._times, [state.budget for state in self._states])
        self._max_drafts = max_drafts
        self._max_length = max_length
        self._clock = clock
        self._num_steps = 0
        self._num_draft_steps = 0  # since the last plain step
        self._pause, self._num_paused = 0, 0  # steps without a plan: all after the last, passed
        self._paused: list[Sequence] = []  # whose last plan was empty
        self._used: dict[Sequence, int] = {}  # source numbers of the drafts of this step

    @property
    def source_names(self) -> tuple[str, ...]:
        """Return the names of all sources."""
        return tuple(state.source.name for state in self._states)

    def propose(self, decoding: Sequences[Sequence]) -> Mapping[Sequence, tuple[int, ...]]:
        """Return draft tokens by sequence, empty if drafts would not save time."""
        if self.passes(decoding):
            return {}
        self._num_steps += 1
        self._used = {}
        if self._num_draft_steps >= MAX_DRAFT_STEPS:
            return {}
        started_at = self._clock()
        planned = self._plan(decoding)
        if not planned:
            self._begin_pause(decoding, self._clock() - started_at)
            return {}
        self._pause = self._num_paused = 0
        drafts: dict[Sequence, tuple[int, ...]] = {}
        for source in sorted({draft.source for draft in planned.values()}):
            drafts |= self._draft(source, planned)
        return drafts

    def passes(self, decoding: Sequences[Sequence]) -> bool:
        """Return whether the next step has no drafts without a plan, and count it if so."""
        if self._num_paused >= self._pause or decoding != self._paused:
            return False
        self._num_steps += 1
        self._num_paused += 1
        self._used = {}
        return True

    def enter_layout(self, layout: CellLayout) -> None:
        """Plan by the times of this layout of the KV cache from the next plan on."""
        if layout is self._layout:
            return
        self._layout, self._paused = layout, []
        self._times = self._times_by_layout.setdefault(layout, StepTimes())
        self._planner.times = self._times

    def record_step(
        self, chunks: Sequences[ScheduledChunk], sampled: Sequences[Sequences[int]], seconds: float
    ) -> None:
        """Record a step: its chunks, the tokens sampled for those that are last, its time."""
        num_decoding = sum(chunk.seq.is_decoding for chunk in chunks)
        has_prompt = num_decoding < len(chunks)
        num_drafts = sum(len(chunk.drafts) for chunk in chunks)
        if not num_decoding or (has_prompt and not num_drafts):
            return
        if not has_prompt:
            self._times.record(num_decoding, num_drafts, seconds)
        self._num_draft_steps += 1
        if not num_drafts:
            self._num_draft_steps = 0
            for state in self._states:
                state.budget.add_income()
            return
        last = zip((chunk for chunk in chunks if chunk.is_last), sampled, strict=True)
        self._settle(num_decoding, [(c, len(tokens) - 1) for c, tokens in last if c.drafts])

    def retire(self, seq: Sequence) -> None:
        """Forget a sequence that ended."""
        self._used.pop(seq, None)
        self._paused = []
        for state in self._states:
            state.source.retire(seq)
            state.records.pop(seq, None)

    def _plan(self, decoding: Sequences[Sequence]) -> dict[Sequence, PlannedDraft]:
        longest = {seq: min(self._max_length, max_draft_length(seq)) for seq in decoding}
        candidates = {
            seq: found for seq in decoding if longest[seq] > 0 and (found := self._candidates(seq))
        }
        return self._planner.plan(
            len(decoding), candidates, longest, self._max_drafts, num_steps=1 + self._num_paused
        )

    def _begin_pause(self, decoding: Sequences[Sequence], planning_s: float) -> None:
        """Plan nothing for so many steps that the last plan was a small part of them.

        Other sequences end the pause.
        """
        self._paused, self._num_paused, self._pause = [*decoding], 0, 0
        if self._times.knows(len(decoding)):
            step_s = self._times.plain_s(len(decoding))
            self._pause = min(MAX_PAUSE, int(planning_s / (PLANNING * step_s)))

    def _candidates(self, seq: Sequence) -> list[DraftOption]:
        rates = (state.acceptance(seq, self._num_steps) for state in self._states)
        return [DraftOption(n, rate) for n, rate in enumerate(rates) if rate is not None]

    def _draft(
        self, source: int, planned: Mapping[Sequence, PlannedDraft]
    ) -> dict[Sequence, tuple[int, ...]]:
        """Return the drafts of one source, and record what they took."""
        state, started_at = self._states[source], self._clock()
        lengths = {seq: each.length for seq, each in planned.items() if each.source == source}
        drafts = {seq: draft for seq, draft in state.source.drafts(lengths).items() if draft}
        num_drafts = sum(map(len, drafts.values()))
        if num_drafts:
            state.budget.record_drafting(num_drafts, self._clock() - started_at)
        self._used |= dict.fromkeys(drafts, source)
        return drafts

    def _settle(self, num_decoding: int, results: Iterable[tuple[ScheduledChunk, int]]) -> None:
        """Record accepted tokens, and settle them with the budgets of their sources."""
        drafted: Counter[int] = Counter()
        accepted: Counter[int] = Counter()
        for chunk, num_accepted in results:
            seq, number = chunk.seq, self._used.get(chunk.seq)
            if number is None:
                continue
            state = self._states[number]
            state.add_result(seq, len(chunk.drafts), num_accepted, self._num_steps)
            seq.count_drafts(state.source.name, len(chunk.drafts), num_accepted)
            drafted[number] += len(chunk.drafts)
            accepted[number] += num_accepted
        self._charge(num_decoding, drafted, accepted)

    def _charge(self, num_decoding: int, drafted: Counter[int], accepted: Counter[int]) -> None:
        """Divide the price of a step among the sources of its drafts."""
        budgets = [state.budget for state in self._states]
        num_drafts = drafted.total()
        if not num_drafts or not self._times.knows(num_decoding):
            return
        seconds = sum(count * budgets[number].drafting_s for number, count in drafted.items())
        price = self._times.price(num_decoding, num_drafts, seconds)
        for number, count in drafted.items():
            budgets[number].settle(price * count / num_drafts, accepted[number] / num_decoding)


def max_draft_length(seq: Sequence) -> int:
    """Return how many draft tokens a sequence may have: a sampled token follows them."""
    length = seq.max_tokens - seq.num_dropped - len(seq.tokens) - 1
    if seq.shift is not None:  # the shift comes before the next token
        length = min(length, seq.shift.edge - len(seq.tokens) - 1)
    requested = seq.sampling.draft_num_predict
    return length if requested is None else min(length, requested)
