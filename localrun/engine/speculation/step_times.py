"""Measured times of steps by their width, and the price of draft tokens that follows from them.

The unit of a price is a plain step: one without draft tokens, of as many sequences. The width of a
step is the number of tokens that it computes. Times between measured widths are interpolated.
A measured time that prevents drafts is trusted a little less at each step without them, until such
drafts are tried again: only what it exceeds a plain step by, and only for that number of sequences.
"""

from __future__ import annotations

from localrun.engine.pacing.step_costs import running_mean

# assumed cost, in steps, of one more token of each sequence, beyond the widest measured step
FIRST_EXTRA = 0.05
TRUST_DECAY = 0.999  # of the trust in a time, at each step whose drafts it prevents
WEIGHT = 0.5  # of a new time in a running mean with one that is trusted


class StepTimes:
    """Running means of the seconds of a step, for all sequences and draft sources of a model."""

    def __init__(self) -> None:
        self._step_s: dict[int, float] = {}  # by width
        # by number of sequences and width, from 1 down to 0; absent = 1
        self._trust: dict[tuple[int, int], float] = {}

    def knows(self, num_decoding: int) -> bool:
        """Return whether a plain step of so many sequences was measured."""
        return num_decoding in self._step_s

    def record(self, num_decoding: int, num_drafts: int, seconds: float) -> None:
        """Record the time of a step; an earlier time weighs as much as it is trusted."""
        width = num_decoding + num_drafts
        weight = 1 - (1 - WEIGHT) * self._trust.pop((num_decoding, width), 1.0)
        self._step_s[width] = running_mean(self._step_s.get(width), seconds, weight)

    def plain_s(self, num_decoding: int) -> float:
        """Return the seconds of a plain step that was measured."""
        return self._step_s[num_decoding]

    def price(self, num_decoding: int, num_drafts: int, drafting_s: float = 0.0) -> float:
        """Return the extra cost of draft tokens that take ``drafting_s`` to draft, in plain steps.

        A draft token never costs more than a step of its own.
        """
        extra_s = self._extra_s(num_decoding, num_decoding + num_drafts) + drafting_s
        return min(float(num_drafts), max(0.0, extra_s / self._step_s[num_decoding]))

    def distrust(self, num_decoding: int, num_steps: int = 1) -> None:
        """Trust the times of wider steps less, because they prevented drafts of so many steps."""
        decay = TRUST_DECAY**num_steps
        for width in self._step_s:
            if width > num_decoding:
                self._trust[num_decoding, width] = decay * self._trusted(num_decoding, width)

    def _extra_s(self, num_decoding: int, width: int) -> float:
        """Return the seconds that a step of ``width`` tokens takes beyond a plain one.

        They are interpolated between measured widths, each as far as it is trusted.
        """
        if width in self._step_s:
            return self._trusted_extra_s(num_decoding, width)
        below = max(known for known in self._step_s if known <= width)
        above = min((known for known in self._step_s if known >= width), default=None)
        low_s = self._trusted_extra_s(num_decoding, below)
        if above is None:
            more = FIRST_EXTRA * (width - below) / num_decoding
            return low_s + more * (self._step_s[num_decoding] + low_s)
        high_s = self._trusted_extra_s(num_decoding, above)
        return low_s + (high_s - low_s) * (width - below) / (above - below)

    def _trusted_extra_s(self, num_decoding: int, width: int) -> float:
        measured_s = self._step_s[width] - self._step_s[num_decoding]
        return self._trusted(num_decoding, width) * measured_s

    def _trusted(self, num_decoding: int, width: int) -> float:
        return self._trust.get((num_decoding, width), 1.0)
