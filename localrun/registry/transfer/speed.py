"""Whether a source has been too slow for too long, and when it is time to save again."""

from __future__ import annotations

import time

SLOW_AFTER_S = 15.0
SLOW_BYTES_PER_S = 32 * 1024


class SourceSpeed:
    """Counts the bytes of one stream."""

    def __init__(self, *, after_s: float, bytes_per_s: float) -> None:
        self._after_s = after_s
        self._bytes_per_s = bytes_per_s  # 0: nothing is too slow
        self._began = time.monotonic()
        self._count = 0

    def is_slow(self, count: int) -> bool:
        """Count bytes; return whether the last stretch was too slow."""
        self._count += count
        elapsed = time.monotonic() - self._began
        if elapsed < self._after_s:
            return False
        is_slow = self._count < self._bytes_per_s * elapsed
        self._began, self._count = time.monotonic(), 0
        return is_slow


class PeriodicTrigger:
    """Tells when something is due: so long after the last time, or so many bytes later."""

    def __init__(self, *, after_s: float, num_bytes: int, done: int) -> None:
        self._after_s = after_s
        self._num_bytes = num_bytes
        self._last = time.monotonic()
        self._done = done

    def is_due(self, done: int) -> bool:
        """Tell it, and begin to count anew if so."""
        now = time.monotonic()
        if now - self._last < self._after_s and done - self._done < self._num_bytes:
            return False
        self._last, self._done = now, done
        return True
