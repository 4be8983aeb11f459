"""What a worker leaves with the warm process, for the case that its client is killed.

A page of shared memory per worker. A command dies with its client, as it would if it had run in
it; the modes of its terminal, such as those of a line editor, become what they were before, unless
a shell with job control does that by itself. A runner dies with the server. A job does not: it ends
in order when its stdin closes.
"""

from __future__ import annotations

import sys

assert sys.platform == "linux"  # elsewhere, mypy reads no further

import contextlib
import marshal
import os
import signal
import termios
from typing import TYPE_CHECKING

from localrun.warm.foreground import job_state

if TYPE_CHECKING:
    import mmap

RECORD_BYTES = 4096
_COMMAND, _RUNNER = 1, 2


def record_mortal(record: mmap.mmap, client: int, *, is_runner: bool) -> None:
    """Record that this process dies with its client, and the modes of the terminal on stdin."""
    data = marshal.dumps(_terminal(client))
    if len(data) < RECORD_BYTES:
        record[1 : 1 + len(data)] = data
        record[0] = _RUNNER if is_runner else _COMMAND


def is_runner(record: mmap.mmap) -> bool:
    """Return whether the worker has become a runner."""
    return record[0] == _RUNNER


def _terminal(client: int) -> tuple[list[int | list[bytes | int]], str, int, int] | None:
    """Return modes and path of the terminal, and the client's session and process group."""
    if not os.isatty(0):
        return None
    try:
        return termios.tcgetattr(0), os.ttyname(0), os.getsid(client), os.getpgid(client)
    except (OSError, termios.error):  # it has been closed, or the client has ended
        return None


def kill_mortal(pid: int, record: mmap.mmap) -> None:
    """Kill a worker that dies with its client, and restore its terminal."""
    if record[0]:
        os.kill(pid, signal.SIGKILL)
        restore_terminal(record)


def restore_terminal(record: mmap.mmap) -> None:
    """Restore the terminal of a worker if its job is in the foreground, and no shell does it.

    A shell with job control gives each job a process group of its own, and sets its modes as soon
    as the job has ended: at the same time as this would.
    """
    terminal = marshal.loads(record[1:]) if record[0] else None  # noqa: S302 - written by a fork of this process
    if terminal is None:
        return
    modes, path, session, group = terminal
    state = job_state(session) if group == session else None
    if state is None or state[2] != group:
        return
    with contextlib.suppress(OSError, termios.error):  # it has been closed
        fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        try:
            termios.tcsetattr(fd, termios.TCSANOW, modes)
        finally:
            os.close(fd)
