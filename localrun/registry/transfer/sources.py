"""Sources of one download: which one to request next, and when to retry.

A failing source is retried with exponential backoff while others are used; a source that cannot
send the file is dropped. Mirrors are looked up only after a failure, by one thread while the
others go on.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.errors import LocalrunError, NetworkError, PrivateAddressError
from localrun.registry.http import HttpError, OfflineError
from localrun.registry.transfer.options import FIRST_WAIT_S
from localrun.registry.transfer.range_reader import (
    FileChangedError,
    NoRangesError,
    RangeReader,
    SourceUnusableError,
)
from localrun.waiting import STEP_S

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from localrun.registry.http import Http
    from localrun.registry.remote import FileSource

MAX_FAILURES = 8  # consecutive failures with less than PROGRESS_BYTES each
MAX_SILENCES = 4  # the same for a source that has never answered
PROGRESS_BYTES = 16 * 1024  # smaller progress counts as none, so that retries end
LONGEST_WAIT_S = 20.0
PATIENCE_S = 2.0  # a longer Retry-After makes the download look for mirrors
FINAL = (SourceUnusableError, FileChangedError, OfflineError, PrivateAddressError)
_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class DownloadSource:
    """Source with its retry state."""

    reader: RangeReader
    num_failures: int = 0
    not_before: float = 0.0
    is_dead: bool = False
    has_answered: bool = False
    has_ranges: bool = True
    is_slow: bool = False
    error: NetworkError | None = None  # of the last failure

    @property
    def wait_s(self) -> float:
        """Return the seconds until the source may be requested again."""
        return max(0.0, self.not_before - time.monotonic())


class DownloadSources:
    """Sources of one file. Safe to use from many threads."""

    def __init__(
        self,
        http: Http,
        sources: Sequence[FileSource],
        find_mirrors: Callable[[], Sequence[FileSource]],
        *,
        first_wait_s: float = FIRST_WAIT_S,
    ) -> None:
        self._first_wait_s = first_wait_s
        self._http = http
        self._find_mirrors: Callable[[], Sequence[FileSource]] | None = find_mirrors
        self._is_looking = False
        self._changed = threading.Condition()  # guards all fields and the sources' state
        self._all = [DownloadSource(RangeReader(http, source)) for source in sources]

    def pick(self, *, needs_ranges: bool) -> DownloadSource | None:
        """Return the source to request now, or None if only sources without ranges are left.

        Raises:
            NetworkError: no source is left; the error is that of the first source.
        """
        if not self._alive():
            self._add_mirrors()
        with self._changed:
            while self._is_looking and not self._alive():
                self._changed.wait(STEP_S)
            alive = self._alive()
            if not alive:
                raise self._reason()
            usable = [source for source in alive if source.has_ranges or not needs_ranges]
            return min(usable, key=_preference, default=None)

    def failed(self, source: DownloadSource, error: NetworkError, *, num_bytes: int) -> None:
        """Record a failure; enough bytes before it reset the count of failures."""
        _log.debug("%s: %s", source.reader.source.name, error.message)
        with self._changed:
            source.error = error
            if isinstance(error, NoRangesError):
                source.has_ranges = False
                return
            self._postpone(source, error, has_progress=num_bytes >= PROGRESS_BYTES)
            is_final = isinstance(error, FINAL) or (
                isinstance(error, HttpError) and not error.is_passing
            )
            source.has_answered |= num_bytes > 0 or isinstance(error, HttpError)
            most = MAX_FAILURES if source.has_answered else MAX_SILENCES
            source.is_dead = is_final or source.num_failures >= most
            is_trouble = source.is_dead or source.num_failures > 1 or source.wait_s > PATIENCE_S
        if is_trouble:
            self._add_mirrors()

    def succeeded(self, source: DownloadSource) -> None:
        """Record that a range is complete."""
        with self._changed:
            source.num_failures = 0
            source.has_answered = True

    def is_too_slow(self, source: DownloadSource) -> bool:
        """Mark a source as slow; return whether another source is left to try."""
        self._add_mirrors()
        with self._changed:
            others = [s for s in self._alive() if s is not source and not s.is_slow]
            source.is_slow = True
            return bool(others)

    def _alive(self) -> list[DownloadSource]:
        return [source for source in self._all if not source.is_dead]

    def _reason(self) -> NetworkError:
        errors = [source.error for source in self._all if source.error is not None]
        return errors[0] if errors else NetworkError("no source is known for this file")

    def _postpone(self, source: DownloadSource, error: NetworkError, *, has_progress: bool) -> None:
        """Delay the next request to a source; simultaneous failures of streams count as one."""
        now = time.monotonic()
        if has_progress:
            source.num_failures = 1
        elif now >= source.not_before:
            source.num_failures += 1
        wait = min(LONGEST_WAIT_S, self._first_wait_s * 2 ** (source.num_failures - 1))
        source.not_before = max(source.not_before, now + max(wait, _asked_wait(error)))

    def _add_mirrors(self) -> None:
        """Look for mirrors on the first call; blocks the calling thread only."""
        with self._changed:
            find_mirrors, self._find_mirrors = self._find_mirrors, None
            self._is_looking = self._is_looking or find_mirrors is not None
        if find_mirrors is None:
            return
        mirrors: Sequence[FileSource] = ()
        try:
            mirrors = find_mirrors()
        except LocalrunError as error:
            _log.debug("no mirror: %s", error.message)
        finally:
            with self._changed:
                known = {source.reader.source.url for source in self._all}
                new = [mirror for mirror in mirrors if mirror.url not in known]
                self._all += [DownloadSource(RangeReader(self._http, mirror)) for mirror in new]
                self._is_looking = False
                self._changed.notify_all()


def _preference(source: DownloadSource) -> tuple[bool, bool, float, int]:
    wait = source.wait_s
    return (wait > 0, source.is_slow, wait, source.num_failures)


def _asked_wait(error: NetworkError) -> float:
    return (error.retry_after_s or 0.0) if isinstance(error, HttpError) else 0.0
