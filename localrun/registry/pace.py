"""What goes on beside a download: writing to the disk, and watching a source's pace."""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import threading

    from localrun.registry.journal import Mark
    from localrun.registry.limit import RateLimit
    from localrun.registry.progress import Progress

SYNC_S = 5.0
SLOW_AFTER_S = 15.0
SLOW_BYTES_PER_S = 32 * 1024


class Durable:
    """The last moment whose bytes are certainly on the disk."""

    def __init__(self, progress: Progress, descriptor: int, mark: Mark) -> None:
        self.mark = mark
        self._progress = progress
        self._descriptor = descriptor

    def keep(self, stop: threading.Event) -> None:
        """Write out what came, again and again, until told to stop."""
        while not stop.wait(SYNC_S):
            mark = self._progress.mark()
            with contextlib.suppress(OSError):
                os.fdatasync(self._descriptor)
                self.mark = mark


class Pace:
    """Tells whether a source has been too slow for too long."""

    def __init__(self, limit: RateLimit) -> None:
        self._is_limited = limit.bytes_per_s is not None
        self._began = time.monotonic()
        self._count = 0

    def is_slow(self, count: int) -> bool:
        """Count bytes; tell whether the last stretch was too slow."""
        self._count += count
        elapsed = time.monotonic() - self._began
        if elapsed < SLOW_AFTER_S or self._is_limited:
            return False
        is_slow = self._count < SLOW_BYTES_PER_S * elapsed
        self._began, self._count = time.monotonic(), 0
        return is_slow
