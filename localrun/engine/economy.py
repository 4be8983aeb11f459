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
FIRST_PURSE, FULL_PURSE = 4.0, 8.0  # plain steps
INCOME = 0.01  # of a plain step, for each one: the part of the time that trials may cost
FIRST_EXTRA = 0.2  # of a plain step, for each guessed token, before anything is measured
FORGOTTEN = 0.99  # a price that was too high is believed a little less each time
LEAST_GAIN = 1.1
DOWN, UP = 0.5, 0.05  # weights of new times: what disturbs a measurement makes it longer
OUTLIER = 2.0


class Economy:
    """Prices and purse of one kind of guesses, for all sequences of a model."""

    def __init__(self) -> None:
        self._plain_s: dict[int, float] = {}  # by the number of sequences that decode
        self._token_s: dict[tuple[int, int], float] = {}  # in steps with guesses, see _key
        self._purse = FIRST_PURSE

    def length(self, num_decoding: int, trusts: Sequence[float], most: int) -> int:
        """Return how many tokens to guess for each sequence with a guess; 0: it does not pay.

        ``trusts`` are their expected shares of right tokens.
        """
        best, best_gain = 0, LEAST_GAIN
        if num_decoding not in self._plain_s:
            return 0
        for length in LENGTHS:
            extra = self._price(num_decoding, length * len(trusts))
            saved = sum(_expected(trust, length) for trust in trusts) / num_decoding
            gain = (1 + saved) / (1 + extra)
            if length <= most and extra <= self._purse and gain > best_gain:
                best, best_gain = length, gain
        if not best:
            for length in LENGTHS:
                key = _key(num_decoding, length * len(trusts))
                if key in self._token_s:
                    self._token_s[key] *= FORGOTTEN
        return best

    def note_plain(self, num_decoding: int, seconds: float) -> None:
        """Learn from a step without guesses."""
        self._plain_s[num_decoding] = _learned(self._plain_s.get(num_decoding), seconds)
        self._purse = min(FULL_PURSE, self._purse + INCOME)

    def note_guessed(self, num_decoding: int, num_drafts: int, seconds: float) -> None:
        """Learn from the seconds of a step with guesses."""
        key = _key(num_decoding, num_drafts)
        token_s = seconds / (num_decoding + num_drafts)
        self._token_s[key] = _learned(self._token_s.get(key), token_s)

    def settle(self, num_decoding: int, num_drafts: int, num_right: int) -> None:
        """Pay a step with guesses, and put what the right ones saved into the purse."""
        won = num_right / num_decoding - self._price(num_decoding, num_drafts)
        self._purse = min(FULL_PURSE, self._purse + won)

    def _price(self, num_decoding: int, num_drafts: int) -> float:
        """Return what guesses add to a step, in plain steps."""
        token_s = self._token_s.get(_key(num_decoding, num_drafts))
        if token_s is None:
            return FIRST_EXTRA * num_drafts
        step_s = token_s * (num_decoding + num_drafts)
        # a guess never costs more than a step of its own
        return min(float(num_drafts), max(0.0, step_s / self._plain_s[num_decoding] - 1))


def _expected(trust: float, length: int) -> float:
    """Return how many tokens of a guess are right before the first wrong one."""
    if trust >= 1:
        return length
    return trust * (1 - trust**length) / (1 - trust)


def _key(num_decoding: int, num_drafts: int) -> tuple[int, int]:
    """Numbers of drafts that are alike cost alike."""
    return num_decoding, num_drafts.bit_length()


def _learned(old: float | None, new: float) -> float:
    if old is None:
        return new
    if new < old:
        return old + DOWN * (new - old)
    return old + UP * (min(new, OUTLIER * old) - old)
