"""Which of a file's remotes to ask next.

A remote that fails is asked again later, after longer and longer, others in the
meantime; one that cannot help is dropped. Other places that have the same bytes are
looked for only when the first ones give trouble.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.errors import NetworkError
from localrun.registry.fetch import Door, FileChangedError, NoRangesError, RemoteUnusableError
from localrun.registry.http import HttpError, OfflineError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from localrun.registry.http import Http
    from localrun.registry.remote import Remote

MOST_FAILURES = 8  # in a row without a byte
FIRST_WAIT_S, LONGEST_WAIT_S = 0.3, 20.0
FINAL = (RemoteUnusableError, FileChangedError, OfflineError)
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Source:
    """A remote, and how it has behaved."""

    door: Door
    num_failures: int = 0
    not_before: float = 0.0
    is_dead: bool = False
    has_ranges: bool = True
    is_slow: bool = False


class Sources:
    """The remotes of one file. Safe to use from many threads."""

    def __init__(
        self,
        http: Http,
        remotes: Sequence[Remote],
        more: Callable[[], Sequence[Remote]],
        *,
        first_wait_s: float = FIRST_WAIT_S,
    ) -> None:
        self._first_wait_s = first_wait_s
        self._http = http
        self._more: Callable[[], Sequence[Remote]] | None = more
        self._lock = threading.Lock()
        self._all = [Source(Door(http, remote)) for remote in remotes]
        self._first_error: NetworkError | None = None

    def pick(self, *, needs_ranges: bool) -> Source | None:
        """Return the source to ask now, None when only ones without ranges are left.

        Raises:
            NetworkError: none is left; the error is the first one's.
        """
        with self._lock:
            alive = [source for source in self._all if not source.is_dead]
            if not alive:
                self._look_further()
                alive = [source for source in self._all if not source.is_dead]
            if not alive:
                raise self._first_error or NetworkError("nobody is known to have this file")
            usable = [source for source in alive if source.has_ranges or not needs_ranges]
            return min(usable, key=_preference, default=None)

    def failed(self, source: Source, error: NetworkError, *, has_progress: bool) -> None:
        """Note a failure; progress before it makes up for earlier ones."""
        _log.debug("%s: %s", source.door.remote.name, error.message)
        with self._lock:
            if self._first_error is None or not isinstance(error, NoRangesError):
                self._first_error = self._first_error or error
            if isinstance(error, NoRangesError):
                source.has_ranges = False
                return
            self._postpone(source, error, has_progress=has_progress)
            is_final = isinstance(error, FINAL) or (
                isinstance(error, HttpError) and not error.is_passing
            )
            source.is_dead = is_final or source.num_failures >= MOST_FAILURES
            if source.is_dead or source.num_failures > 1:
                self._look_further()

    def _postpone(self, source: Source, error: NetworkError, *, has_progress: bool) -> None:
        """Let a source rest; streams that fail together are one failure."""
        now = time.monotonic()
        if has_progress:
            source.num_failures = 1
        elif now >= source.not_before:
            source.num_failures += 1
        wait = min(LONGEST_WAIT_S, self._first_wait_s * 2 ** (source.num_failures - 1))
        source.not_before = max(source.not_before, now + max(wait, _asked_wait(error)))

    def succeeded(self, source: Source) -> None:
        """Note that an interval came whole."""
        source.num_failures = 0

    def is_too_slow(self, source: Source) -> bool:
        """Tell whether to leave a slow source, once, because another one is left to try."""
        with self._lock:
            self._look_further()
            others = [s for s in self._all if s is not source and not s.is_dead and not s.is_slow]
            source.is_slow = True
            return bool(others)

    def _look_further(self) -> None:
        """Find other remotes, the first time that this is asked for."""
        more, self._more = self._more, None
        if more is None:
            return
        known = {source.door.remote.url for source in self._all}
        try:
            found = [remote for remote in more() if remote.url not in known]
        except NetworkError as error:
            _log.debug("no mirror: %s", error.message)
            return
        self._all += [Source(Door(self._http, remote)) for remote in found]


def _preference(source: Source) -> tuple[bool, bool, float, int]:
    is_waiting = source.not_before > time.monotonic()
    when = source.not_before if is_waiting else 0.0
    return (is_waiting, source.is_slow, when, source.num_failures)


def _asked_wait(error: NetworkError) -> float:
    return (error.retry_after_s or 0.0) if isinstance(error, HttpError) else 0.0
