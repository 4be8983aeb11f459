"""Costs that are compared within one run, so that slow and busy machines change both sides.

`growth` finds a quadratic algorithm, and `plain_loops` an expensive one. Both count processor
time, so that it does not matter how many other programs run.
"""

from __future__ import annotations

import gc
import math
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

STEP = 4
LINEAR = 9.0  # times the cost of a fourth: 4 if linear, 5 if n log n, 16 if quadratic
TRIES = 5
ROUNDS = 100_000
MIN_S = 0.001


def processor_s(work: Callable[[], object]) -> float:
    """Return the processor time that all threads of this process spend meanwhile.

    The garbage collector looks only at objects of the work, not at those of all earlier tests.
    """
    gc.freeze()
    try:
        begun = time.process_time()
        work()
        return time.process_time() - begun
    finally:
        gc.unfreeze()


def wall_s(work: Callable[[], object]) -> float:
    """Return the time that passes meanwhile: nothing to compare but with another of a test."""
    begun = time.monotonic()
    work()
    return time.monotonic() - begun


def growth(work: Callable[[int], object], size: int) -> float:
    """Return how many times as much a size costs as a fourth of it; below `LINEAR` is good."""
    small_s = large_s = math.inf
    for _ in range(TRIES):
        small_s = min(small_s, processor_s(lambda: work(size // STEP)))
        large_s = min(large_s, processor_s(lambda: work(size)))
        if large_s < LINEAR * small_s:
            break
    return large_s / small_s


def grows_linearly(work: Callable[[int], object], size: int) -> bool:
    """Return whether four times a size costs less than `LINEAR` times as much.

    Work of less than a thousandth of a second passes: its ratio says nothing.
    """
    small_s = large_s = math.inf
    for _ in range(TRIES):
        small_s = min(small_s, processor_s(lambda: work(size)))
        large_s = min(large_s, processor_s(lambda: work(STEP * size)))
        if large_s < LINEAR * max(small_s, MIN_S):
            return True
    return False


def plain_loops(work: Callable[[], object]) -> float:
    """Return the cost in plain loops of `ROUNDS` rounds, which run right before and after."""
    before_s = processor_s(_plain_loop)
    spent_s = processor_s(work)
    return spent_s / max(before_s, processor_s(_plain_loop))


def _plain_loop() -> None:
    count = 0
    for number in range(ROUNDS):
        count += number
