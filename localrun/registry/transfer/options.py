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
    """Token bucket that all downloads of a process share; holds a quarter of a second's bytes."""

    def __init__(self, bytes_per_s: float | None) -> None:
        self.bytes_per_s = bytes_per_s
        self._lock = threading.Lock()  # guards _free_at; no other lock is taken inside
        self._free_at = 0.0

    @property
    def piece_bytes(self) -> int:
        """Return the read size: small pieces lose little if the process is killed."""
        if not self.bytes_per_s:
            return LARGEST_PIECE
        return min(LARGEST_PIECE, max(SMALLEST_PIECE, int(self.bytes_per_s / PIECES_PER_S)))

    def take(self, count: int, stop: threading.Event) -> None:
        """Wait until ``count`` more bytes are within the rate, or until ``stop`` is set."""
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
    """Options of one download."""

    num_streams: int = DEFAULT_STREAMS
    limit: RateLimit = field(default_factory=lambda: RateLimit(None))
    first_wait_s: float = FIRST_WAIT_S  # after a failure; doubled after each further failure
    slow_after_s: float = SLOW_AFTER_S
    slow_bytes_per_s: float = (
        SLOW_BYTES_PER_S  # below this rate for so long, another source is tried
    )
    sync_s: float = SYNC_S  # between two fsyncs: what a crash of the machine can lose
    find_mirrors: Callable[[], Sequence[FileSource]] = no_more  # called when a source fails
    report: Callable[[int, int | None], None] = lambda done, total: None  # noqa: ARG005


class SourceSpeed:
    """Throughput of one connection, measured in intervals of ``after_s``."""

    def __init__(self, *, after_s: float, bytes_per_s: float) -> None:
        self._after_s = after_s
        self._bytes_per_s = bytes_per_s  # 0: no rate is too slow
        self._began = time.monotonic()
        self._count = 0

    def is_slow(self, count: int) -> bool:
        """Count bytes; return whether an interval has ended that was too slow."""
        self._count += count
        elapsed = time.monotonic() - self._began
        if elapsed < self._after_s:
            return False
        is_slow = self._count < self._bytes_per_s * elapsed
        self._began, self._count = time.monotonic(), 0
        return is_slow


class PeriodicTrigger:
    """Trigger that fires after a time or a number of bytes, whichever comes first."""

    def __init__(self, *, after_s: float, num_bytes: int, done: int) -> None:
        self._after_s = after_s
        self._num_bytes = num_bytes
        self._last = time.monotonic()
        self._done = done

    def is_due(self, done: int) -> bool:
        """Return whether to act now; if so, restart the interval."""
        now = time.monotonic()
        if now - self._last < self._after_s and done - self._done < self._num_bytes:
            return False
        self._last, self._done = now, done
        return True
