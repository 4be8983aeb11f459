"""Statistics of pass rates, without a table or an approximation where there is an exact way."""

from __future__ import annotations

import math
from dataclasses import dataclass

Z = 1.959964  # of a 95 % interval


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval of a rate, 0 to 1."""

    low: float
    high: float


def wilson(num_passed: int, num_all: int) -> Interval:
    """Return the 95 % interval of a pass rate (Wilson 1927), right for few tasks as well."""
    if not num_all:
        return Interval(0.0, 1.0)
    rate = num_passed / num_all
    scale = 1 + Z * Z / num_all
    center = (rate + Z * Z / (2 * num_all)) / scale
    half = Z / scale * math.sqrt(rate * (1 - rate) / num_all + Z * Z / (4 * num_all * num_all))
    return Interval(min(max(0.0, center - half), rate), max(min(1.0, center + half), rate))


def paired_p(num_only_first: int, num_only_second: int) -> float:
    """Return the probability of a difference at least this large by chance.

    The arguments count the tasks that one of two models alone has passed (McNemar 1947, the exact
    binomial form, both sides).
    """
    num = num_only_first + num_only_second
    if not num:
        return 1.0
    fewer = min(num_only_first, num_only_second)
    # in logarithms: the numbers of ways have thousands of digits
    log_half = -num * math.log(2)
    tail = sum(math.exp(_log_ways(num, k) + log_half) for k in range(fewer + 1))
    return min(1.0, 2 * tail)


def _log_ways(num: int, k: int) -> float:
    return math.lgamma(num + 1) - math.lgamma(k + 1) - math.lgamma(num - k + 1)
