"""A rate that all downloads of a process keep together."""

from __future__ import annotations

import threading
import time

LARGEST_PIECE, SMALLEST_PIECE = 1 << 20, 1 << 12
PIECES_PER_S = 32


class RateLimit:
    """A bucket that fills at a rate and holds a quarter of a second's worth; 0 is no limit."""

    def __init__(self, bytes_per_s: float | None) -> None:
        self.bytes_per_s = bytes_per_s
        self._lock = threading.Lock()
        self._free_at = 0.0

    @property
    def piece_bytes(self) -> int:
        """Return how much to read at once: little of it waits, and is lost with the process."""
        if not self.bytes_per_s:
            return LARGEST_PIECE
        return min(LARGEST_PIECE, max(SMALLEST_PIECE, int(self.bytes_per_s / PIECES_PER_S)))

    def take(self, count: int, stop: threading.Event) -> None:
        """Wait until ``count`` more bytes are within the rate, or until ``stop``."""
        if not self.bytes_per_s:
            return
        with self._lock:
            now = time.monotonic()
            self._free_at = max(self._free_at, now - 0.25) + count / self.bytes_per_s
            wait = self._free_at - now
        if wait > 0:
            stop.wait(wait)
