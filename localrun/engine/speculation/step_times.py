"""Measured times of steps by their width, and the price of draft tokens that follows from them.

The unit of a price is a plain step: one without draft tokens, of as many sequences. The width of a
step is the number of tokens that it computes. Times between measured widths are interpolated.
"""

from __future__ import annotations

FIRST_EXTRA = 0.05  # assumed cost, in steps, of each token beyond the widest measured step
PRICE_DECAY = 0.999  # a measured price that prevents drafts is trusted a little less each time
WEIGHT = 0.5  # of a new time in a running mean
MAX_OUTLIER = 2.0  # a time that is longer by more than this factor counts as this factor


class StepTimes:
    """Running means of the seconds of a step, for all sequences and draft sources of a model."""

    def __init__(self) -> None:
        self._step_s: dict[int, float] = {}  # by width

    def knows(self, num_decoding: int) -> bool:
        """Return whether a plain step of so many sequences was measured."""
        return num_decoding in self._step_s

    def record(self, width: int, seconds: float) -> None:
        """Record the time of a step."""
        self._step_s[width] = running_mean(self._step_s.get(width), seconds)

    def plain_s(self, num_decoding: int) -> float:
        """Return the seconds of a plain step that was measured."""
        return self._step_s[num_decoding]

    def price(self, num_decoding: int, num_drafts: int, drafting_s: float = 0.0) -> float:
        """Return the extra cost of draft tokens that take ``drafting_s`` to draft, in plain steps.

        A draft token never costs more than a step of its own.
        """
        step_s = self._expected_s(num_decoding + num_drafts) + drafting_s
        return min(float(num_drafts), max(0.0, step_s / self._step_s[num_decoding] - 1))

    def distrust(self, num_decoding: int) -> None:
        """Trust the times of wider steps a little less, because they prevented drafts."""
        for width in self._step_s:
            if width > num_decoding:
                self._step_s[width] *= PRICE_DECAY

    def _expected_s(self, width: int) -> float:
        """Return the seconds of a step of ``width`` tokens, interpolated between measured ones."""
        known = self._step_s.get(width)
        if known is not None:
            return known
        below = max(known for known in self._step_s if known <= width)
        above = min((known for known in self._step_s if known >= width), default=None)
        low_s = self._step_s[below]
        if above is None:
            return low_s * (1 + FIRST_EXTRA * (width - below))
        return low_s + (self._step_s[above] - low_s) * (width - below) / (above - below)


def running_mean(mean: float | None, new: float) -> float:
    """Return the mean that follows ``mean``, or the first one."""
    if mean is None:
        return new
    return mean + WEIGHT * (min(new, MAX_OUTLIER * mean) - mean)
