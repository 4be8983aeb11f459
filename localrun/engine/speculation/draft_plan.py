"""Choice of the draft source and the draft length of each sequence in a step.

A draft saves a sequence as many steps as tokens of it are accepted, and costs what the wider step
costs more (`StepTimes`) and what the source takes to draft. The plan with the highest expected
speedup is chosen among a few lengths. Each sequence drafts from the source that saves it the most,
and only those sequences draft for which that is worth it.

    speedup = (1 + accepted tokens / sequences) / (1 + price)
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Sequence as Sequences

    from localrun.engine.sequence import Sequence
    from localrun.engine.speculation.draft_budget import DraftBudget
    from localrun.engine.speculation.step_times import StepTimes

# few, because llama.cpp builds a new graph for every batch width; 2 is what hybrid models take back
LENGTHS = (1, 2, 3, 7, 15)
MIN_SPEEDUP = 1.1


@dataclass(frozen=True, slots=True)
class DraftOption:
    """A source that has a draft for a sequence."""

    source: int  # its number
    acceptance: float  # expected rate, 0 to 1


@dataclass(frozen=True, slots=True)
class PlannedDraft:
    """The source of a sequence's draft, and its length."""

    source: int
    length: int


@dataclass(frozen=True, slots=True)
class _Choice:
    seq: Sequence
    source: int
    saved: float  # steps of this sequence


class DraftPlanner:
    """Planner over measured `times` and the budgets of all sources, which its owner updates."""

    def __init__(self, times: StepTimes, budgets: Sequences[DraftBudget]) -> None:
        self.times = times
        self._budgets = budgets

    def plan(
        self,
        num_decoding: int,
        candidates: Mapping[Sequence, Sequences[DraftOption]],
        longest: Mapping[Sequence, int],
        max_drafts: int,
        *,
        num_steps: int = 1,
    ) -> dict[Sequence, PlannedDraft]:
        """Return the drafts of a step, empty if none would save time.

        ``longest`` is the limit of each sequence, ``max_drafts`` that of all together,
        ``num_steps`` are those since the last plan.
        """
        best: dict[Sequence, PlannedDraft] = {}
        if not candidates or not self.times.knows(num_decoding):
            return best
        best_speedup, would_pay = MIN_SPEEDUP, False
        for length in LENGTHS:
            choices = self._choices(num_decoding, candidates, longest, length)
            for count in range(1, min(len(choices), max_drafts // length) + 1):
                chosen = choices[:count]
                price = self._price(num_decoding, chosen, length)
                speedup = (1 + sum(c.saved for c in chosen) / num_decoding) / (1 + price)
                if speedup <= best_speedup:
                    continue
                would_pay = True
                if self._is_affordable(chosen, price):
                    best_speedup = speedup
                    best = {c.seq: PlannedDraft(c.source, length) for c in chosen}
        if not would_pay:  # else the drafts wait for the income of a source, not for better times
            self.times.distrust(num_decoding, num_steps)
        return best

    def _choices(
        self,
        num_decoding: int,
        candidates: Mapping[Sequence, Sequences[DraftOption]],
        longest: Mapping[Sequence, int],
        length: int,
    ) -> list[_Choice]:
        """Return the best source of each sequence that may draft so much, the best first."""
        step_s = self.times.plain_s(num_decoding)
        prices = [num_decoding * length * b.drafting_s / step_s for b in self._budgets]
        choices = []
        for seq, sources in candidates.items():
            if longest[seq] < length:
                continue
            values = [(_expected(c.acceptance, length), c.source) for c in sources]
            saved, source = max(values, key=lambda value: value[0] - prices[value[1]])
            choices.append(_Choice(seq, source, saved))
        return sorted(choices, key=lambda choice: -choice.saved)

    def _price(self, num_decoding: int, choices: list[_Choice], length: int) -> float:
        """Return the price of drafts of one length."""
        drafting_s = sum(length * self._budgets[choice.source].drafting_s for choice in choices)
        return self.times.price(num_decoding, length * len(choices), drafting_s)

    def _is_affordable(self, choices: list[_Choice], price: float) -> bool:
        """Return whether each source could pay its share of a price if all tokens were rejected."""
        counts = Counter(choice.source for choice in choices)
        shares = {source: price * count / len(choices) for source, count in counts.items()}
        return all(share <= self._budgets[source].balance for source, share in shares.items())


def _expected(acceptance: float, length: int) -> float:
    """Return the expected number of draft tokens before the first rejected one."""
    if acceptance >= 1:
        return length
    return acceptance * (1 - acceptance**length) / (1 - acceptance)
