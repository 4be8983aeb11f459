"""Comparison of measurements: pair by pair in one run, and with a report that was saved."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.benchmarks.report import Report, Row

LEAST_CHANGE = 0.05  # of a median: less is no regression, however quiet the machine
NOISE_FACTOR = 3.0  # changes up to so many spreads are noise


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedRow:
    """A figure of two servers, measured in turn; if ``ratio`` is over 1, the first is better."""

    name: str
    unit: str
    first: tuple[float, ...]
    second: tuple[float, ...]
    is_rate: bool

    @property
    def ratios(self) -> list[float]:
        """Return the ratio of each pair."""
        pairs = zip(self.first, self.second, strict=True)
        return [(a / b if self.is_rate else b / a) if a and b else 1.0 for a, b in pairs]

    @property
    def ratio(self) -> float:
        """Return the median of the ratios."""
        return statistics.median(self.ratios)

    @property
    def p(self) -> float:
        """Return how likely so many pairs have the same sign by chance (sign test, both sides)."""
        return sign_test([ratio - 1 for ratio in self.ratios])


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureChange:
    """A row beside the same row of an earlier report."""

    before: Row
    now: Row

    @property
    def ratio(self) -> float:
        """Return how much better the row is now; under 1 it is worse."""
        before, now = self.before.median, self.now.median
        if not before or not now:
            return 1.0
        return now / before if self.now.is_rate else before / now

    @property
    def noise(self) -> float:
        """Return the change that is no news, as a share."""
        return max(LEAST_CHANGE, NOISE_FACTOR * (self.before.spread + self.now.spread))

    @property
    def is_regression(self) -> bool:
        """Return whether the row is worse than noise explains."""
        return self.ratio < 1 - self.noise

    @property
    def is_improvement(self) -> bool:
        """Return whether it is better than noise explains."""
        return self.ratio > 1 + self.noise


def changes(before: Report, now: Report) -> list[FigureChange]:
    """Return the rows that both reports have, in the order of the new one."""
    known = {row.key: row for row in before.rows}
    return [
        FigureChange(before=known[row.key], now=row)
        for row in now.rows
        if row.key in known and known[row.key].unit == row.unit
    ]


def sign_test(differences: Sequence[float]) -> float:
    """Return the probability that so many differences have one sign by chance.

    Zeros are left out (Dixon and Mood 1946); both sides.
    """
    num_positive = sum(difference > 0 for difference in differences)
    num_negative = sum(difference < 0 for difference in differences)
    num = num_positive + num_negative
    tail = sum(math.comb(num, k) for k in range(min(num_positive, num_negative) + 1))
    return float(min(1.0, 2 * tail / 2**num))
