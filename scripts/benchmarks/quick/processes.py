"""Processes of a server, and their memory, from ``/proc``.

A page that several processes share counts once, divided among them (Pss): a process that was forked
from another would otherwise count the pages of both.
"""

from __future__ import annotations

import re
from pathlib import Path

import psutil

KILOBYTES = re.compile(r"^(\w+):\s+(\d+) kB", re.MULTILINE)
PRIVATE = ("Pss_Anon", "Pss_Shmem")  # what no file on disk backs


def listener(port: int) -> psutil.Process | None:
    """Return the process that listens on a port of this machine."""
    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port:
            return psutil.Process(connection.pid)
    return None


def family(process: psutil.Process) -> list[psutil.Process]:
    """Return a process and all of its descendants."""
    return [process, *process.children(recursive=True)]


def model_mb(process: psutil.Process) -> float:
    """Return the megabytes without file pages of that process of a family which has the most."""
    rows = (_memory(member.pid) for member in family(process))
    return max(sum(row.get(name, 0) for name in PRIVATE) for row in rows) * 1024 / 1e6


def _memory(pid: int) -> dict[str, int]:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return {name: int(size) for name, size in KILOBYTES.findall(text)}
