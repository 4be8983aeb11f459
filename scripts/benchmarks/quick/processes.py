"""Memory and wake-ups of a tree of processes, from ``/proc``.

A page that several processes share counts once, divided among them (Pss): a process that was forked
from another would otherwise count the pages of both.
"""

from __future__ import annotations

import re
import time
from pathlib import Path

import psutil

SWITCHES = re.compile(r"^(?:non)?voluntary_ctxt_switches:\s+(\d+)", re.MULTILINE)
KILOBYTES = re.compile(r"^(\w+):\s+(\d+) kB", re.MULTILINE)
PRIVATE = ("Pss_Anon", "Pss_Shmem")  # what no file on disk backs


def family(pid: int) -> list[int]:
    """Return a process and all of its descendants."""
    return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]


def wakeups_per_second(pid: int, seconds: float) -> float:
    """Return how often the threads of a family get a processor in a second; blocks so long."""
    before, begun = _switches(pid), time.monotonic()
    time.sleep(seconds)
    after = _switches(pid)
    passed_s = time.monotonic() - begun
    return sum(after[task] - before.get(task, 0) for task in after) / passed_s


def model_mb(pid: int) -> float:
    """Return the megabytes without file pages of that process of a family which has the most."""
    rows = (_memory(member) for member in family(pid))
    return max(sum(row.get(name, 0) for name in PRIVATE) for row in rows) * 1024 / 1e6


def family_mb(pid: int) -> float:
    """Return the megabytes of a family, with its share of the pages of files."""
    return sum(_memory(member).get("Pss", 0) for member in family(pid)) * 1024 / 1e6


def _switches(pid: int) -> dict[Path, int]:
    """Return the number of context switches of each thread of a family."""
    counts = {}
    for member in family(pid):
        for task in Path(f"/proc/{member}/task").iterdir():
            text = (task / "status").read_text()
            counts[task] = sum(int(count) for count in SWITCHES.findall(text))
    return counts


def _memory(pid: int) -> dict[str, int]:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return {name: int(size) for name, size in KILOBYTES.findall(text)}
