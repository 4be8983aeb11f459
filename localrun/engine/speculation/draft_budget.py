"""Cost model of speculative decoding: how many draft tokens save time, and how many to risk.

The unit is a plain step (without draft tokens) of as many sequences. A step with draft tokens
costs more than a plain step and saves one plain step per accepted token of a sequence. Saved
time goes into a balance, losses are paid from it, and no draft is longer than the balance could
pay if all its tokens were rejected. Plain steps add a small income, so that drafts that did not
save time are tried again now and then at a bounded total cost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

LENGTHS = (3, 7, 15)  # few, because llama.cpp builds a new graph for every batch width
INITIAL_BALANCE, MAX_BALANCE = 4.0, 5.0  # plain steps
INCOME = 0.005  # plain steps per plain step: the share of time that trials may cost
FIRST_EXTRA = 0.05  # assumed cost, in steps, of each token beyond the widest measured step
PRICE_DECAY = 0.999  # a measured price that prevents drafts is trusted a little less each time
MIN_SPEEDUP = 1.1
WEIGHT = 0.5  # of a new time in a running mean
MAX_OUTLIER = 2.0  # a time that is longer by more than this factor counts as this factor


class DraftBudget:
    """Measured prices and balance of one draft source, for all sequences of a model."""

    def __init__(self) -> None:
        self._step_s: dict[int, float] = {}  # by the number of tokens that a step computes
        self._drafting_s = 0.0  # time of the source for each draft token
        self._balance = INITIAL_BALANCE

    def length(self, num_decoding: int, acceptances: Sequence[float], longest: int) -> int:
        """Return the length of each draft, or 0 if drafts would not save time.

        ``acceptances`` are the expected acceptance rates of these sequences.
        """
        best_length, best_speedup = 0, MIN_SPEEDUP
        if num_decoding not in self._step_s:
            return 0
        for length in LENGTHS:
            extra = self._price(num_decoding, length * len(acceptances))
            saved = sum(_expected_accepted(rate, length) for rate in acceptances) / num_decoding
            speedup = (1 + saved) / (1 + extra)
            if length <= longest and extra <= self._balance and speedup > best_speedup:
                best_length, best_speedup = length, speedup
        if not best_length:
            for width in self._step_s:
                if width > num_decoding:
                    self._step_s[width] *= PRICE_DECAY
        return best_length

    def record_plain_step(self, num_decoding: int, seconds: float) -> None:
        """Record the time of a step without draft tokens."""
        self._record_step(num_decoding, seconds)
        self._balance = min(MAX_BALANCE, self._balance + INCOME)

    def record_draft_step(
        self, num_decoding: int, num_drafts: int, seconds: float, drafting_s: float = 0.0
    ) -> None:
        """Record the time of a step with draft tokens, and of drafting them."""
        self._record_step(num_decoding + num_drafts, seconds)
        self._drafting_s = _running_mean(self._drafting_s or None, drafting_s / num_drafts)

    def settle(self, num_decoding: int, num_drafts: int, num_accepted: int) -> None:
        """Charge a step with draft tokens to the balance, and credit the accepted tokens."""
        saved = num_accepted / num_decoding - self._price(num_decoding, num_drafts)
        self._balance = min(MAX_BALANCE, self._balance + saved)

    def _record_step(self, width: int, seconds: float) -> None:
        self._step_s[width] = _running_mean(self._step_s.get(width), seconds)

    def _price(self, num_decoding: int, num_drafts: int) -> float:
        """Return the extra cost of draft tokens, in plain steps."""
        step_s = self._expected_s(num_decoding + num_drafts) + self._drafting_s * num_drafts
        # a draft token never costs more than a step of its own
        return min(float(num_drafts), max(0.0, step_s / self._step_s[num_decoding] - 1))

    def _expected_s(self, width: int) -> float:
        """Return the seconds of a step of ``width`` tokens, interpolated between measured ones."""
        below = max(known for known in self._step_s if known <= width)
        above = min((known for known in self._step_s if known >= width), default=None)
        low_s = self._step_s[below]
        if above is None:
            return low_s * (1 + FIRST_EXTRA * (width - below))
        if above == below:
            return low_s
        return low_s + (self._step_s[above] - low_s) * (width - below) / (above - below)


def _expected_accepted(acceptance: float, length: int) -> float:
    """Return the expected number of draft tokens before the first rejected one."""
    if acceptance >= 1:
        return length
    return acceptance * (1 - acceptance**length) / (1 - acceptance)


def _running_mean(mean: float | None, new: float) -> float:
    if mean is None:
        return new
    return mean + WEIGHT * (min(new, MAX_OUTLIER * mean) - mean)
