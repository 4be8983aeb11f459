"""Cost of processes that do nothing: wake-ups, processor time and memory (Linux only).

A wake-up is a context switch of any thread: each one begins with a thread that was woken. Threads
that end meanwhile are not counted.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

PROC = Path("/proc")
SECONDS = 30.0
MB = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class IdleCost:
    """Cost of some processes together."""

    wakeups_per_s: float
    processor_share: float  # of one processor
    pss_bytes: int  # proportional set size: a page of n processes counts as a share of 1/n


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counts:
    wakeups: dict[tuple[int, int], int]  # by process and thread
    processor_s: float


def idle_cost(pids: Iterable[int], seconds: float = SECONDS) -> IdleCost:
    """Return the cost of processes while the caller sleeps for ``seconds``.

    Raises:
        OSError: a process has ended, or belongs to another user.
    """
    pids = tuple(pids)
    begun, before = time.monotonic(), _counts(pids)
    time.sleep(seconds)
    passed_s, after = time.monotonic() - begun, _counts(pids)
    num_wakeups = sum(num - before.wakeups.get(thread, 0) for thread, num in after.wakeups.items())
    return IdleCost(
        wakeups_per_s=num_wakeups / passed_s,
        processor_share=(after.processor_s - before.processor_s) / passed_s,
        pss_bytes=sum(map(pss_bytes, pids)),
    )


def pss_bytes(pid: int) -> int:
    """Return the proportional set size of a process."""
    lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024


def wakeups(pid: int) -> dict[tuple[int, int], int]:
    """Return the number of context switches of each thread so far, by process and thread id."""
    return {
        (pid, int(thread.name)): _num_switches((thread / "status").read_text())
        for thread in (PROC / str(pid) / "task").iterdir()
    }


def main(arguments: list[str]) -> int:
    """Print the cost of the processes whose ids are given, one by one and together."""
    pids = [int(argument) for argument in arguments]
    cost = idle_cost(pids)
    print(
        f"{cost.wakeups_per_s:.2f} wake-ups/s, {100 * cost.processor_share:.2f} % of a processor, "
        f"{cost.pss_bytes / MB:.1f} MB Pss"
    )
    return 0


def _counts(pids: Iterable[int]) -> _Counts:
    return _Counts(
        wakeups={thread: num for pid in pids for thread, num in wakeups(pid).items()},
        processor_s=sum(map(_processor_s, pids)),
    )


def _num_switches(status: str) -> int:
    return sum(int(line.split()[1]) for line in status.splitlines() if "_ctxt_switches:" in line)


def _processor_s(pid: int) -> float:
    fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # user and system


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
