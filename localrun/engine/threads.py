"""How many threads are worth using on this machine."""

from __future__ import annotations

import os
from pathlib import Path

BYTES_PER_THREAD = 16 * 1024 * 1024  # less work than this is done before a second thread has woken
CGROUP_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def usable_threads(quota_file: Path = CGROUP_QUOTA) -> int:
    """Return the number of cores that this process may use, at least 1.

    Counts the cores of the affinity mask, and no more than a container's quota:
    more threads than that only wait for each other.
    """
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    quota = _quota(quota_file)
    return max(1, min(cores, quota) if quota else cores)


def useful_threads(model_bytes: int) -> int:
    """Return how many threads a model of this size gains from, at most `usable_threads`."""
    return min(usable_threads(), 1 + model_bytes // BYTES_PER_THREAD)


def _quota(file: Path) -> int | None:
    """Return the whole cores of a cgroup v2 quota, None without one."""
    try:
        limit, period = file.read_text().split()
        return max(1, round(int(limit) / int(period)))
    except (OSError, ValueError):  # no cgroup v2 here, or "max"
        return None
