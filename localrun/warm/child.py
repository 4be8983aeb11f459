"""Child processes of a server: forked by the warm process, or started anew.

A child is this program with some arguments, such as a runner or a job, in a process group of its
own. A fork has everything imported and saves 0.4 s; wherever there is no warm process, or it
refuses, the child is a new process. Both look the same to the caller.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from typing import IO, TYPE_CHECKING, Protocol

from localrun.program import program_command
from localrun.system.processes import spawn

if sys.platform == "linux":
    from localrun.warm.forking import fork_child

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping, Sequence


class Child(Protocol):
    """A started process, as `subprocess.Popen` describes it."""

    stdin: IO[bytes] | None
    stdout: IO[bytes] | None
    stderr: IO[bytes] | None
    pid: int

    def poll(self) -> int | None:
        """Return the exit code, None while the process runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Block until the process has ended, and return its exit code."""

    def kill(self) -> None:
        """Kill the process, if it still runs."""


def start_child(
    arguments: Sequence[str],
    environ: Mapping[str, str],
    *,
    warm: str | None,
    link: socket.socket | None = None,
) -> Child:
    """Start this program; ``warm`` is the path of the warm process's socket.

    With ``link``, one end of a socket pair, the child gets the option ``--fd`` with its number,
    and stderr is a pipe. Without, stdin and stdout are pipes, and stderr is the caller's.

    Raises:
        OSError: the system has no process, memory or file descriptor left.
    """
    if sys.platform == "linux" and warm is not None:
        with contextlib.suppress(OSError):
            child = fork_child(arguments, environ, warm, link)
            if child is not None:
                return child
    return _spawn(arguments, environ, link)


def start_invited(arguments: Sequence[str], environ: Mapping[str, str], invitation: bytes) -> Child:
    """Start this program with a line on its stdin, which stays open; stderr is a pipe.

    Raises:
        OSError: the system has no process, memory or file descriptor left.
    """
    pipe, null = subprocess.PIPE, subprocess.DEVNULL
    child = spawn(
        [*program_command(), *arguments], stdin=pipe, stdout=null, stderr=pipe, environ=environ
    )
    if child.stdin is not None:
        with contextlib.suppress(OSError):  # it has ended: it will not connect
            child.stdin.write(invitation)
            child.stdin.flush()
    return child


def _spawn(
    arguments: Sequence[str], environ: Mapping[str, str], link: socket.socket | None
) -> Child:
    command = [*program_command(), *arguments]
    pipe, null = subprocess.PIPE, subprocess.DEVNULL
    if link is None:
        return spawn(command, stdin=pipe, stdout=pipe, stderr=None, environ=environ)
    fd = link.fileno()
    return spawn(
        [*command, "--fd", str(fd)],
        stdin=null,
        stdout=null,
        stderr=pipe,
        environ=environ,
        kept=[fd],
    )
