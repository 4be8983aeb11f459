"""When guessing pays: what a wider step costs, and what the guesses have saved.

All is counted in plain steps of as many sequences. A step with guesses costs more than
a plain one and saves a step for each right token a sequence. What is saved goes into a
purse; out of it losses are paid, and nothing is guessed that the purse could not pay if
every guess were wrong. Plain steps put a little into it, so that what did not pay
is tried again now and then, and what that may cost in all is bounded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

LENGTHS = (3, 7, 15)  # few, because llama.cpp builds its graph anew for every other width
FIRST_PURSE, FULL_PURSE = 4.0, 5.0  # plain steps
INCOME = 0.005  # of a plain step, for each one: the part of the time that trials may cost
FIRST_EXTRA = 0.05  # of a step, for each token more than what was measured: worth a trial
FORGOTTEN = 0.999  # a price that was too high is believed a little less each time
LEAST_GAIN = 1.1
WEIGHT = 0.5  # of a new time in a running mean
OUTLIER = 2.0  # a time so many times longer than expected counts as so much


class DraftBudget:
    """Prices and purse of one kind of guesses, for all sequences of a model."""

    def __init__(self) -> None:
        self._step_s: dict[int, float] = {}  # by the number of tokens that a step computes
        self._making_s = 0.0  # what making a guess took, for each of its tokens
        self._purse = FIRST_PURSE

    def length(self, num_decoding: int, trusts: Sequence[float], most: int) -> int:
        """Return how many tokens to guess for each sequence with a guess; 0: it does not pay.

        ``trusts`` are their expected shares of right tokens.
        """
        best, best_gain = 0, LEAST_GAIN
        if num_decoding not in self._step_s:
            return 0
        for length in LENGTHS:
            extra = self._price(num_decoding, length * len(trusts))
            saved = sum(_expected(trust, length) for trust in trusts) / num_decoding
            gain = (1 + saved) / (1 + extra)
            if length <= most and extra <= self._purse and gain > best_gain:
                best, best_gain = length, gain
        if not best:
            for width in self._step_s:
                if width > num_decoding:
                    self._step_s[width] *= FORGOTTEN
        return best

    def note_plain(self, num_decoding: int, seconds: float) -> None:
        """Learn from a step without guesses."""
        self._note_step(num_decoding, seconds)
        self._purse = min(FULL_PURSE, self._purse + INCOME)

    def note_guessed(
        self, num_decoding: int, num_drafts: int, seconds: float, making_s: float = 0.0
    ) -> None:
        """Learn from the seconds of a step with guesses, and of making these."""
        self._note_step(num_decoding + num_drafts, seconds)
        self._making_s = _learned(self._making_s or None, making_s / num_drafts)

    def settle(self, num_decoding: int, num_drafts: int, num_right: int) -> None:
        """Pay a step with guesses, and put what the right ones saved into the purse."""
        won = num_right / num_decoding - self._price(num_decoding, num_drafts)
        self._purse = min(FULL_PURSE, self._purse + won)

    def _note_step(self, width: int, seconds: float) -> None:
        self._step_s[width] = _learned(self._step_s.get(width), seconds)

    def _price(self, num_decoding: int, num_drafts: int) -> float:
        """Return what guesses add to a step, in plain steps."""
        step_s = self._expected_s(num_decoding + num_drafts) + self._making_s * num_drafts
        # a guess never costs more than a step of its own
        return min(float(num_drafts), max(0.0, step_s / self._step_s[num_decoding] - 1))

    def _expected_s(self, width: int) -> float:
        """Return the seconds of a step of so many tokens, between what was measured."""
        below = max(known for known in self._step_s if known <= width)
        above = min((known for known in self._step_s if known >= width), default=None)
        low_s = self._step_s[below]
        if above is None:
            return low_s * (1 + FIRST_EXTRA * (width - below))
        if above == below:
            return low_s
        return low_s + (self._step_s[above] - low_s) * (width - below) / (above - below)


def _expected(trust: float, length: int) -> float:
    """Return how many tokens of a guess are right before the first wrong one."""
    if trust >= 1:
        return length
    return trust * (1 - trust**length) / (1 - trust)


def _learned(old: float | None, new: float) -> float:
    if old is None:
        return new
    return old + WEIGHT * (min(new, OUTLIER * old) - old)
