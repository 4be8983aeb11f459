"""The names that hold one runner: who uses it, and until when each wants it to stay.

Several recipes on the same weights share a runner. It stays as long as one of them holds
it. Not safe from several threads: the slot has the lock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from localrun.supervisor.model import KeepAlive


@dataclass(slots=True)
class ServedName:
    """One name."""

    digest: str
    num_users: int = 0
    expires_at: float | None = None  # None = for ever, or while requests are open
    is_pinned: bool = False  # stays, whatever its requests say, until it is told to go
    keep_alive: KeepAlive | None = None  # as the last request wanted it

    def is_expired(self, now: float) -> bool:
        """Return whether its time is over and nobody uses it."""
        if self.num_users or self.is_pinned or self.expires_at is None:
            return False
        return now >= self.expires_at


class ServedNames:
    """All names of one runner, the first to come first."""

    def __init__(self) -> None:
        self._by_name: dict[str, ServedName] = {}

    @property
    def num_users(self) -> int:
        """Return the number of open requests of all names."""
        return sum(holder.num_users for holder in self._by_name.values())

    @property
    def by_name(self) -> dict[str, ServedName]:
        """Return a copy: the holders are the same, the names may change meanwhile."""
        return dict(self._by_name)

    @property
    def has_pin(self) -> bool:
        """Return whether one of them stays for ever."""
        return any(holder.is_pinned for holder in self.by_name.values())

    def pin(self, name: str) -> None:
        """Let a name that is held stay until it is told to go."""
        self._by_name[name].is_pinned = True

    def take(self, name: str, digest: str, keep_alive: KeepAlive | None = None) -> None:
        """Count one user of a name more, which therefore stays."""
        holder = self._by_name.setdefault(name, ServedName(digest))
        holder.digest = digest
        holder.num_users += 1
        holder.expires_at = None
        holder.keep_alive = keep_alive

    def leave(self, name: str, expires_at: float | None) -> None:
        """Count one user less; the last one to leave says how long the name stays."""
        holder = self._by_name[name]
        holder.num_users -= 1
        if not holder.num_users and holder.expires_at is None:  # else it was told to go
            holder.expires_at = expires_at

    def expire(self, name: str, now: float) -> bool:
        """Let a name go as soon as nobody uses it; return whether it was there."""
        holder = self._by_name.get(name)
        if holder is not None:
            holder.expires_at, holder.is_pinned = now, False
        return holder is not None

    def rename(self, source: str, target: str) -> None:
        """Let ``target`` hold the runner in place of ``source``, in addition to its own users."""
        moved = self._by_name.pop(source, None)
        if moved is not None:
            other = self._by_name.get(target)
            self._by_name[target] = moved if other is None else _merged(moved, other)

    def drop_expired(self, now: float) -> bool:
        """Forget the names whose time is over; return whether none is left."""
        for name, holder in self.by_name.items():
            if holder.is_expired(now):
                del self._by_name[name]
        return not self._by_name

    def drop_idle(self) -> None:
        """Forget all names that nobody uses: their runner is gone; a pin holds for the next one."""
        for name, holder in self.by_name.items():
            if not (holder.num_users or holder.is_pinned):
                del self._by_name[name]


def _merged(moved: ServedName, other: ServedName) -> ServedName:
    """Return one holder for two names that have become one; it stays as long as either would."""
    times = (moved.expires_at, other.expires_at)
    return ServedName(
        digest=moved.digest,
        num_users=moved.num_users + other.num_users,
        expires_at=None if None in times else max(time for time in times if time is not None),
        is_pinned=moved.is_pinned or other.is_pinned,
        keep_alive=moved.keep_alive or other.keep_alive,
    )
