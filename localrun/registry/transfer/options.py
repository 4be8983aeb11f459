"""Options of one download and the pacing they ask for: rate limit, slow sources, intervals.

Owns defaults and clocks. Knows no URLs and no files.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from localrun.registry.remote import FileSource

DEFAULT_STREAMS = 4
SYNC_S = 5.0
FIRST_WAIT_S = 0.3
SLOW_AFTER_S = 15.0
SLOW_BYTES_PER_S = 32 * 1024
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


def no_more() -> Sequence[FileSource]:
    """Return no mirrors."""
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadOptions:
    """How to download."""

    num_streams: int = DEFAULT_STREAMS
    limit: RateLimit = field(default_factory=lambda: RateLimit(None))
    first_wait_s: float = FIRST_WAIT_S  # after a failure; doubled after each further one
    slow_after_s: float = SLOW_AFTER_S
    slow_bytes_per_s: float = SLOW_BYTES_PER_S  # slower for so long: another source is tried
    sync_s: float = SYNC_S  # between two fsyncs, which is what a crash of the machine costs
    find_mirrors: Callable[[], Sequence[FileSource]] = no_more  # called when a source gives trouble
    report: Callable[[int, int | None], None] = lambda done, total: None  # noqa: ARG005


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
