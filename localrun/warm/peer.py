"""Rights and limits of a client, which decide whether a worker may stand for it.

A worker is a fork of the warm process: it has the users, groups, capabilities and namespaces of
the server, and takes the limits of the client where the system lets it. A client with other
rights, in a control group with limits of its own, or with limits that count from the start of a
process, runs its command itself.
"""

from __future__ import annotations

import sys

assert sys.platform == "linux"  # elsewhere, mypy reads no further

import contextlib
import os
import resource
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")
RIGHTS = ("Uid:", "Gid:", "Groups:", "Cap", "NoNewPrivs:", "Seccomp:")  # in /proc/PID/status
# limits on memory, which a worker has used otherwise, and the size of the stacks of threads
FROM_START = ("RLIMIT_AS", "RLIMIT_DATA", "RLIMIT_STACK")
MIN_OPEN_FILES = 32  # a worker needs a few until it has become the command
GROUP_LIMITS = ("memory.max", "memory.high", "cpu.max", "pids.max", "cpuset.cpus")


def rights(process: int | str) -> list[str]:
    """Return the users, groups, capabilities, root and namespaces of a process."""
    with open(f"/proc/{process}/status", errors="replace", encoding="ascii") as lines:  # noqa: PTH123
        found = [line for line in lines if line.startswith(RIGHTS)]
    links = ["root", *(f"ns/{name}" for name in NAMESPACES)]
    return found + [_target(f"/proc/{process}/{link}") for link in links]


def _target(link: str) -> str:
    try:
        return os.readlink(link)  # noqa: PTH115
    except FileNotFoundError:  # this kernel has no such namespace
        return ""


def take_limits(peer: int) -> bool:
    """Take the client's resource limits, niceness and processors; return whether all are taken.

    Raises:
        OSError: this process may not.
        ValueError: the same.
    """
    scheduler = os.sched_getscheduler(peer), os.sched_getparam(peer)
    if scheduler != (os.sched_getscheduler(0), os.sched_getparam(0)) or _is_confined(peer):
        return False
    for name in dir(resource):
        if name.startswith("RLIMIT_") and not _take_limit(peer, name):
            return False
    nice = os.getpriority(os.PRIO_PROCESS, peer)
    if nice != os.getpriority(os.PRIO_PROCESS, 0):
        os.setpriority(os.PRIO_PROCESS, 0, nice)
    processors = os.sched_getaffinity(peer)
    if processors != os.sched_getaffinity(0):
        os.sched_setaffinity(0, processors)
    return True


def _take_limit(peer: int, name: str) -> bool:
    number = getattr(resource, name)
    limits = resource.prlimit(peer, number)
    if name == "RLIMIT_NOFILE" and limits[0] < MIN_OPEN_FILES:
        return False
    if limits == resource.getrlimit(number):
        return True
    if name in FROM_START:
        return False
    resource.setrlimit(number, limits)
    return True


def _is_confined(peer: int) -> bool:
    """Return whether the client's control group, another than this process's, has a limit."""
    theirs, ours = _control_groups(peer), _control_groups("self")
    if theirs == ours:
        return False
    if len(theirs) != 1 or len(ours) != 1 or not theirs[0].startswith("0::/"):
        return True  # version 1, of which each kind has its own tree
    path, shared = theirs[0][len("0::") :], ours[0][len("0::") :]
    while not f"{shared}/".startswith(f"{path.rstrip('/')}/"):
        if any(_group_limits(path)):
            return True
        path = path.rpartition("/")[0]
    return False


def _control_groups(process: int | str) -> list[str]:
    with open(f"/proc/{process}/cgroup", encoding="utf-8", errors="surrogateescape") as lines:  # noqa: PTH123
        return [line.rstrip("\n") for line in lines]


def _group_limits(path: str) -> Iterator[str]:
    for name in GROUP_LIMITS:
        with contextlib.suppress(FileNotFoundError):  # a controller that is not in use
            with open(f"/sys/fs/cgroup{path}/{name}", encoding="ascii") as file:  # noqa: PTH123
                limit = file.read().strip()
            if limit and not limit.startswith("max"):
                yield limit
