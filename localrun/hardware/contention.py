"""Processor contention: run time and wait time of this process's threads, and idle time.

    /proc/self/task/<id>/schedstat   nanoseconds run, nanoseconds ready to run but waiting
    /proc/stat                       cpu<n> user nice system idle iowait ..., in ticks
    /proc/loadavg                    averages, then threads that run or are ready / all threads

Linux only.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from localrun.system.processors import ticks_per_second, usable_processors

TASKS, STAT, LOAD = Path("/proc/self/task"), Path("/proc/stat"), Path("/proc/loadavg")
NANOSECONDS = 1e9
IDLE, IO_WAIT = 4, 5  # columns of /proc/stat


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """The times between two readings."""

    wall_s: float
    ran_s: float  # of all threads of this process together, as `waited_s`
    waited_s: float
    idle_s: float  # of all processors that this process may use


@dataclass(frozen=True, slots=True)
class CpuUsage:
    """One reading: seconds since a fixed moment."""

    at_s: float
    tasks: dict[str, tuple[float, float]]  # run and wait time, by thread
    idle_s: float

    def since(self, earlier: CpuUsage) -> CpuTimes:
        """Return the times since an earlier reading; threads that ended are left out."""
        spent = [
            (ran - before[0], waited - before[1])
            for task, (ran, waited) in self.tasks.items()
            for before in [earlier.tasks.get(task, (0.0, 0.0))]
        ]
        return CpuTimes(
            self.at_s - earlier.at_s,
            sum(ran for ran, _ in spent),
            sum(waited for _, waited in spent),
            self.idle_s - earlier.idle_s,
        )


def read_usage(tasks: Path = TASKS, stat: Path = STAT) -> CpuUsage | None:
    """Return a reading, or None if the system does not report it."""
    try:
        times = dict(_read_tasks(tasks))
        return CpuUsage(time.monotonic(), times, _idle_s(stat)) if times else None
    except (OSError, ValueError, IndexError):
        return None


def read_num_runnable(load: Path = LOAD) -> int | None:
    """Return how many threads of the machine run or are ready now, None if that is not known."""
    try:
        return int(load.read_text().split()[3].partition("/")[0])
    except (OSError, ValueError, IndexError):
        return None


def _read_tasks(tasks: Path) -> list[tuple[str, tuple[float, float]]]:
    times = []
    for name in os.listdir(tasks):  # noqa: PTH208 - Path objects cost more than reading
        try:
            with open(f"{tasks}/{name}/schedstat") as file:  # noqa: PTH123
                ran, waited, *_ = file.read().split()
        except FileNotFoundError:  # the thread has just ended
            continue
        times.append((name, (int(ran) / NANOSECONDS, int(waited) / NANOSECONDS)))
    return times


def _idle_s(stat: Path) -> float:
    allowed = {f"cpu{number}" for number in usable_processors()}
    ticks = 0
    with stat.open() as file:
        for line in file:
            columns = line.split()
            if not columns[0].startswith("cpu"):
                break  # the lines that follow can be long
            if columns[0] in allowed:
                ticks += int(columns[IDLE]) + int(columns[IO_WAIT])
    return ticks / ticks_per_second()
