"""A rate that all downloads of a process keep together."""

from __future__ import annotations

import threading
import time


class RateLimit:
    """A bucket that fills at a rate and holds a quarter of a second's worth."""

    def __init__(self, bytes_per_s: float | None) -> None:
        self.bytes_per_s = bytes_per_s
        self._lock = threading.Lock()
        self._free_at = 0.0

    def take(self, count: int, stop: threading.Event) -> None:
        """Wait until ``count`` more bytes are within the rate, or until ``stop``."""
        if self.bytes_per_s is None:
            return
        with self._lock:
            now = time.monotonic()
            self._free_at = max(self._free_at, now - 0.25) + count / self.bytes_per_s
            wait = self._free_at - now
        if wait > 0:
            stop.wait(wait)
