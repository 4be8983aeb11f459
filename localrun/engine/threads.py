"""How many threads are worth using for a model."""

from __future__ import annotations

from localrun.hardware.cpu import usable_threads

BYTES_PER_THREAD = 16 * 1024 * 1024  # less work than this is done before a second thread has woken


def useful_threads(model_bytes: int) -> int:
    """Return how many threads a model of this size gains from, at most `usable_threads`."""
    return min(usable_threads(), 1 + model_bytes // BYTES_PER_THREAD)
