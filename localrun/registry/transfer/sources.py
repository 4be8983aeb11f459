"""Which of a file's remotes to ask next.

A remote that fails is asked again later, after longer and longer, others in the
meantime; one that cannot help is dropped. Other places that have the same bytes are
looked for only when the first ones give trouble, by one thread while others go on.
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

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from localrun.registry.http import Http
    from localrun.registry.remote import FileSource

MOST_FAILURES = 8  # in a row that brought next to nothing
MOST_SILENCES = 4  # the same, of one that has never answered: nobody is there
PROGRESS_BYTES = 16 * 1024  # less is next to nothing, so that failures come to an end
LONGEST_WAIT_S = 20.0
PATIENCE_S = 2.0  # who wants to be left alone for longer gives trouble
FINAL = (SourceUnusableError, FileChangedError, OfflineError, PrivateAddressError)
_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class DownloadSource:
    """A remote, and how it has behaved."""

    reader: RangeReader
    num_failures: int = 0
    not_before: float = 0.0
    is_dead: bool = False
    has_answered: bool = False
    has_ranges: bool = True
    is_slow: bool = False
    error: NetworkError | None = None  # the last one

    @property
    def wait_s(self) -> float:
        """Return for how long it wants to be left alone."""
        return max(0.0, self.not_before - time.monotonic())


class DownloadSources:
    """The remotes of one file. Safe to use from many threads."""

    def __init__(
        self,
        http: Http,
        remotes: Sequence[FileSource],
        more: Callable[[], Sequence[FileSource]],
        *,
        first_wait_s: float = FIRST_WAIT_S,
    ) -> None:
        self._first_wait_s = first_wait_s
        self._http = http
        self._more: Callable[[], Sequence[FileSource]] | None = more
        self._is_looking = False
        self._changed = threading.Condition()
        self._all = [DownloadSource(RangeReader(http, remote)) for remote in remotes]

    def pick(self, *, needs_ranges: bool) -> DownloadSource | None:
        """Return the source to ask now, None when only ones without ranges are left.

        Raises:
            NetworkError: none is left; the error is the first one's.
        """
        if not self._alive():
            self._look_further()
        with self._changed:
            while self._is_looking and not self._alive():
                self._changed.wait()
            alive = self._alive()
            if not alive:
                raise self._reason()
            usable = [source for source in alive if source.has_ranges or not needs_ranges]
            return min(usable, key=_preference, default=None)

    def failed(self, source: DownloadSource, error: NetworkError, *, num_bytes: int) -> None:
        """Note a failure; many bytes before it make up for earlier ones."""
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
            most = MOST_FAILURES if source.has_answered else MOST_SILENCES
            source.is_dead = is_final or source.num_failures >= most
            is_trouble = source.is_dead or source.num_failures > 1 or source.wait_s > PATIENCE_S
        if is_trouble:
            self._look_further()

    def succeeded(self, source: DownloadSource) -> None:
        """Note that an interval came whole."""
        with self._changed:
            source.num_failures = 0
            source.has_answered = True

    def is_too_slow(self, source: DownloadSource) -> bool:
        """Return whether to leave a slow source, once, because another one is left to try."""
        self._look_further()
        with self._changed:
            others = [s for s in self._alive() if s is not source and not s.is_slow]
            source.is_slow = True
            return bool(others)

    def _alive(self) -> list[DownloadSource]:
        return [source for source in self._all if not source.is_dead]

    def _reason(self) -> NetworkError:
        errors = [source.error for source in self._all if source.error is not None]
        return errors[0] if errors else NetworkError("nobody is known to have this file")

    def _postpone(self, source: DownloadSource, error: NetworkError, *, has_progress: bool) -> None:
        """Let a source rest; streams that fail together are one failure."""
        now = time.monotonic()
        if has_progress:
            source.num_failures = 1
        elif now >= source.not_before:
            source.num_failures += 1
        wait = min(LONGEST_WAIT_S, self._first_wait_s * 2 ** (source.num_failures - 1))
        source.not_before = max(source.not_before, now + max(wait, _asked_wait(error)))

    def _look_further(self) -> None:
        """Find other remotes, the first time that this is asked for; blocks one thread only."""
        with self._changed:
            more, self._more = self._more, None
            self._is_looking = self._is_looking or more is not None
        if more is None:
            return
        found: Sequence[FileSource] = ()
        try:
            found = more()
        except LocalrunError as error:
            _log.debug("no mirror: %s", error.message)
        finally:
            with self._changed:
                known = {source.reader.source.url for source in self._all}
                new = [remote for remote in found if remote.url not in known]
                self._all += [DownloadSource(RangeReader(self._http, remote)) for remote in new]
                self._is_looking = False
                self._changed.notify_all()


def _preference(source: DownloadSource) -> tuple[bool, bool, float, int]:
    wait = source.wait_s
    return (wait > 0, source.is_slow, wait, source.num_failures)


def _asked_wait(error: NetworkError) -> float:
    return (error.retry_after_s or 0.0) if isinstance(error, HttpError) else 0.0
