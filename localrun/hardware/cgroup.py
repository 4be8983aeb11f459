"""Limits of a container: whole cores and bytes, from cgroup v2 or v1.

    v2   /sys/fs/cgroup/<own path>/cpu.max             "150000 100000" or "max 100000"
                                   memory.max          bytes or "max"
                                   memory.current, memory.stat (inactive_file can be dropped)
    v1   /sys/fs/cgroup/cpu/<own path>/cpu.cfs_quota_us, cpu.cfs_period_us
         /sys/fs/cgroup/memory/<own path>/memory.limit_in_bytes, memory.usage_in_bytes

The own path is in ``/proc/self/cgroup``; the limits of all folders above it apply, too. Inside a
container the path may be the host's: folders that do not exist are skipped.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")
NO_LIMIT_BYTES = 1 << 60  # cgroup v1 writes a number near 2**63 for no limit


@dataclass(frozen=True, slots=True, kw_only=True)
class CgroupLimits:
    """The tightest limits of this process's groups; None for no limit."""

    num_cores: int | None = None
    memory_bytes: int | None = None
    memory_free_bytes: int | None = None


def read_limits(root: Path = ROOT, membership: Path = MEMBERSHIP) -> CgroupLimits:
    """Return the limits of this process."""
    cores, limits, free = [], [], []
    for folder in _folders(root, membership):
        quota = _quota(folder)
        if quota is not None:
            cores.append(quota)
        limit, used = _memory(folder)
        if limit is not None:
            limits.append(limit)
            free.append(max(0, limit - used))
    return CgroupLimits(
        num_cores=min(cores, default=None),
        memory_bytes=min(limits, default=None),
        memory_free_bytes=min(free, default=None),
    )


def _folders(root: Path, membership: Path) -> Iterator[Path]:
    """Yield the folders of this process's groups, up to the root."""
    for controllers, path in _memberships(membership):
        wanted = set(controllers.split(","))
        names = ["", "unified"] if not controllers else [controllers, *sorted(wanted)]
        if controllers and not wanted & {"cpu", "memory"}:
            continue
        for name in names:
            for part in (path, *path.parents):
                yield root / name / str(part).lstrip("/")


def _memberships(file: Path) -> list[tuple[str, PurePosixPath]]:
    """Return pairs (controllers, own path); version 2 has no controllers."""
    memberships = [("", PurePosixPath("/"))]
    for line in (_text(file) or "").splitlines():
        pieces = line.split(":", 2)
        if len(pieces) == 3 and ".." not in pieces[2]:  # noqa: PLR2004 - number:controllers:path
            memberships.append((pieces[1], PurePosixPath(pieces[2])))
    return memberships


def _quota(folder: Path) -> int | None:
    pieces = (_text(folder / "cpu.max") or "").split()
    if not pieces:
        quota = _number(folder / "cpu.cfs_quota_us")
        period = _number(folder / "cpu.cfs_period_us")
        pieces = [str(quota), str(period)] if quota and period else []
    if len(pieces) != 2 or not all(piece.isdigit() for piece in pieces):  # noqa: PLR2004 - a pair
        return None  # "max", -1, or no such controller
    quota, period = int(pieces[0]), int(pieces[1])
    return max(1, round(quota / period)) if quota and period else None


def _memory(folder: Path) -> tuple[int | None, int]:
    """Return the limit, and the used bytes that cannot be dropped."""
    for limit_name, used_name in (
        ("memory.max", "memory.current"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        limit = _number(folder / limit_name)
        if limit is not None and 0 < limit < NO_LIMIT_BYTES:
            used = _number(folder / used_name) or 0
            return limit, max(0, used - _droppable(folder))
    return None, 0


def _droppable(folder: Path) -> int:
    """Return the bytes of file pages that the kernel drops before it kills a process."""
    for line in (_text(folder / "memory.stat") or "").splitlines():
        name, _, value = line.partition(" ")
        if name in {"inactive_file", "total_inactive_file"} and value.isdigit():
            return int(value)
    return 0


def _number(file: Path) -> int | None:
    text = (_text(file) or "").strip()
    return int(text) if text.removeprefix("-").isdigit() else None


def _text(file: Path) -> str | None:
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError):
        return None
