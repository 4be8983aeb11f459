"""Readers of streams: how long one who reads at a steady speed waits for tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

READING_SPEED = 10.0  # tokens a second, the default of LOCALRUN_READING_SPEED


def reader_waits(times: Sequence[float], speed: float = READING_SPEED) -> list[float]:
    """Return how long a reader waits for each token but the first, given when tokens came."""
    waits = []
    read_until = times[0] if times else 0.0
    for time in times[1:]:
        read_until += 1 / speed
        waits.append(max(0.0, time - read_until))
        read_until = max(read_until, time)
    return waits


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that ``share`` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
