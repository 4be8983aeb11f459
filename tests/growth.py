"""Whether work grows with its input, or with the square of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

TIMES = 4  # the larger input, in the smaller
MOST_GROWTH = 10  # a square is 16, n log n less than 5
TRIES = 3  # the quickest counts


def grows_linearly(work: Callable[[int], object], size: int) -> bool:
    """Return whether the processor time for ``TIMES * size`` is near ``TIMES`` that for ``size``.

    Work that takes no time to speak of counts as linear, whatever its ratio.
    """
    small, large = (_cpu_s(work, number) for number in (size, TIMES * size))
    return large < MOST_GROWTH * max(small, 0.001)


def _cpu_s(work: Callable[[int], object], size: int) -> float:
    times = []
    for _ in range(TRIES):
        begun = time.thread_time()
        work(size)
        times.append(time.thread_time() - begun)
    return min(times)
