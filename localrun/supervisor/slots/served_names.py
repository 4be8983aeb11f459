"""Served names of one runner: the names that keep it loaded, with their keep-alive and pin.

Several recipes on the same weights share a runner; the runner stays while one served name remains.
Knows nothing of the runner. `ServedNames` is not thread-safe: the lock of `SlotState` guards it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from localrun.supervisor.model import KeepAlive


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedName:
    """A name that keeps a runner loaded."""

    digest: str
    num_open: int = 0  # running requests
    expires_at: float | None = None  # None = never, or not before the running requests have ended
    is_pinned: bool = False  # stays until it is stopped, whatever keep-alive its requests have
    keep_alive: KeepAlive | None = None  # of the last request

    def is_expired(self, now: float) -> bool:
        """Return whether the keep-alive is over and no request runs."""
        if self.num_open or self.is_pinned or self.expires_at is None:
            return False
        return now >= self.expires_at


class ServedNames:
    """All served names of one runner, the oldest first."""

    def __init__(self) -> None:
        self._by_name: dict[str, ServedName] = {}

    @property
    def by_name(self) -> dict[str, ServedName]:
        """Return a copy."""
        return dict(self._by_name)

    @property
    def has_pin(self) -> bool:
        """Return whether a name is pinned."""
        return any(served.is_pinned for served in self.by_name.values())

    @property
    def next_expiry(self) -> float | None:
        """Return when the next name without running requests expires, or None if none does."""
        idle = [served for served in self._by_name.values() if not served.num_open]
        times = [
            served.expires_at
            for served in idle
            if served.expires_at is not None and not served.is_pinned
        ]
        return min(times, default=None)

    def open(
        self, name: str, digest: str, keep_alive: KeepAlive | None = None, *, pins: bool = False
    ) -> None:
        """Count a request for a name, which suspends its expiry."""
        served = self._by_name.get(name, ServedName(digest=digest))
        self._by_name[name] = replace(
            served,
            digest=digest,
            num_open=served.num_open + 1,
            expires_at=None,
            is_pinned=served.is_pinned or pins,
            keep_alive=keep_alive,
        )

    def close(self, name: str, expires_at: float | None) -> None:
        """Count the end of a request; the last one of a name sets when the name expires."""
        served = self._by_name[name]
        num_open = served.num_open - 1
        if num_open or served.expires_at is not None:  # `expire` was called while it was open
            expires_at = served.expires_at
        self._by_name[name] = replace(served, num_open=num_open, expires_at=expires_at)

    def expire(self, name: str, now: float) -> bool:
        """Unpin a name and let it expire when its requests have ended; return whether it exists."""
        served = self._by_name.get(name)
        if served is not None:
            self._by_name[name] = replace(served, expires_at=now, is_pinned=False)
        return served is not None

    def rename(self, source: str, target: str) -> None:
        """Replace ``source`` by ``target``; a ``target`` that exists takes over its requests."""
        moved = self._by_name.pop(source, None)
        if moved is not None:
            other = self._by_name.get(target)
            self._by_name[target] = moved if other is None else _merged(moved, other)

    def set_digest(self, name: str, digest: str) -> None:
        """Replace the digest of a name, if the name exists."""
        if name in self._by_name:
            self._by_name[name] = replace(self._by_name[name], digest=digest)

    def drop_expired(self, now: float) -> bool:
        """Remove expired names; return whether no name is left."""
        for name, served in self.by_name.items():
            if served.is_expired(now):
                del self._by_name[name]
        return not self._by_name

    def drop_idle(self) -> None:
        """Remove names without running requests, except pinned ones, when the runner ends."""
        for name, served in self.by_name.items():
            if not (served.num_open or served.is_pinned):
                del self._by_name[name]


def _merged(moved: ServedName, other: ServedName) -> ServedName:
    """Return one served name for two that were joined; it expires as late as either would."""
    times = (moved.expires_at, other.expires_at)
    return ServedName(
        digest=moved.digest,
        num_open=moved.num_open + other.num_open,
        expires_at=None if None in times else max(time for time in times if time is not None),
        is_pinned=moved.is_pinned or other.is_pinned,
        keep_alive=moved.keep_alive or other.keep_alive,
    )
