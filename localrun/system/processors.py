"""Processors that this process may use, and the unit of their times."""

from __future__ import annotations

import os
import sys


def usable_processors() -> frozenset[int]:
    """Return the numbers of the processors that this process may use; all if that is unknown."""
    numbers = set(range(os.cpu_count() or 1))
    if sys.platform == "linux":
        numbers = os.sched_getaffinity(0)
    return frozenset(numbers)


def ticks_per_second() -> int:
    """Return the number of ticks in a second of the kernel's processor times."""
    if sys.platform == "win32":
        return 1000  # unused: it reports no such times
    else:
        return os.sysconf("SC_CLK_TCK")
