"""Processes of a server, and their memory, from ``/proc``.

A page that several processes share counts once, divided among them (Pss): a process that was forked
from another would otherwise count the pages of both.
"""

from __future__ import annotations

import contextlib
import re
import resource
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterable

KILOBYTES = re.compile(r"^(\w+):\s+(\d+) kB", re.MULTILINE)
IDLE_S, IDLE_SHARE, MAX_SETTLE_S = 1.0, 0.02, 30.0
PRIVATE = ("Pss_Anon", "Pss_Shmem")  # what no file on disk backs


def listener(port: int) -> psutil.Process | None:
    """Return the process that listens on a port of this machine."""
    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,):
            return psutil.Process(connection.pid)
    return None


def family(process: psutil.Process) -> list[psutil.Process]:
    """Return a process and all of its descendants."""
    return [process, *process.children(recursive=True)]


def settle(process: psutil.Process) -> None:
    """Wait until a process and its descendants are idle: a server goes on after its first answer.

    Returns after `MAX_SETTLE_S` at the latest.
    """
    until = time.monotonic() + MAX_SETTLE_S
    spent_s = _spent_s(process)
    while time.monotonic() < until:
        time.sleep(IDLE_S)
        before_s, spent_s = spent_s, _spent_s(process)
        if spent_s - before_s <= IDLE_SHARE * IDLE_S:
            return


def model_mb(process: psutil.Process) -> float:
    """Return the megabytes without file pages of that process of a family which has the most."""
    rows = (_memory(member.pid) for member in family(process))
    return max(sum(row.get(name, 0) for name in PRIVATE) for row in rows) * 1024 / 1e6


def _spent_s(process: psutil.Process) -> float:
    spent_s = 0.0
    for member in family(process):
        with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended
            times = member.cpu_times()
            spent_s += times.user + times.system
    return spent_s


def _memory(pid: int) -> dict[str, int]:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):  # it has just ended
        return {}
    return {name: int(size) for name, size in KILOBYTES.findall(text)}


def processor_s(processes: Iterable[psutil.Process] = ()) -> float:
    """Return the processor time of this process's ended children and of others with theirs."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    times = [process.cpu_times() for process in processes]
    others = sum(t.user + t.system + t.children_user + t.children_system for t in times)
    return ended.ru_utime + ended.ru_stime + float(others)
