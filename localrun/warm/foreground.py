"""Terminal input of a worker: only a job in the foreground may read.

The kernel stops a job that reads its terminal from the background (SIGTTIN). A worker belongs to
no job of the terminal, and would take the keys from the shell. So it looks whether its client is
in the foreground before it reads; if not, it sends the client the signal that the kernel would
have sent, and the client stops both. While it reads, it catches SIGCONT: a client that the shell
continues in the background sees this, and stops again before the worker goes on.
"""

from __future__ import annotations

import sys

assert sys.platform == "linux"  # elsewhere, mypy reads no further

import builtins
import contextlib
import errno
import io
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

GROUP_FIELD, TERMINAL_FIELD, FOREGROUND_FIELD = 2, 4, 5  # after the name in /proc/PID/stat
STOP_TIMEOUT_S, MAX_TRIES = 0.05, 40  # a group without a shell is not stopped


def job_state(process: int) -> tuple[int, int, int] | None:
    """Return process group, terminal and its foreground group of a process; None if it ended."""
    try:
        fields = Path(f"/proc/{process}/stat").read_bytes().rpartition(b")")[2].split()
        return int(fields[GROUP_FIELD]), int(fields[TERMINAL_FIELD]), int(fields[FOREGROUND_FIELD])
    except (OSError, ValueError, IndexError):
        return None


def terminal_input(client: int) -> io.FileIO:
    """Return stdin, which stops the job before it reads the client's terminal in the background."""
    state = job_state(client)
    if state is None or not os.isatty(0) or os.fstat(0).st_rdev != _device(state[1]):
        return WorkerInput(0, "rb", closefd=False)
    return _TerminalInput(client)


def _device(number: int) -> int:
    """Return a device as the C library numbers it, from the kernel's number."""
    return os.makedev(number >> 8 & 0xFFF, number & 0xFF | number >> 12 & 0xFFF00)


class WorkerInput(io.FileIO):
    """stdin of a worker."""


class _TerminalInput(WorkerInput):
    """stdin on the client's terminal."""

    def __init__(self, client: int) -> None:
        super().__init__(0, "rb", closefd=False)
        self._client = client
        self._input = builtins.input
        builtins.input = self._read_line

    def readinto(self, buffer: bytearray) -> int | None:  # type: ignore[override]
        """Read into a buffer; return the number of bytes."""
        with self:
            return super().readinto(buffer)

    def readall(self) -> bytes:
        """Read up to the end."""
        with self:
            return super().readall()

    def _read_line(self, prompt: object = "", /) -> str:
        with self:
            return self._input(prompt)

    def __enter__(self) -> Self:
        """Wait for the foreground.

        Raises:
            OSError: this job has no shell that could bring it there.
        """
        _handle_continue(self._go_on)
        if not self._has_come_to_foreground():
            _handle_continue(signal.SIG_DFL)
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return self

    def __exit__(self, *_: object) -> None:
        _handle_continue(signal.SIG_DFL)

    def _has_come_to_foreground(self) -> bool:
        """Wait for the foreground; return False if no shell stops the job until then."""
        for _ in range(MAX_TRIES):
            state = job_state(self._client)
            if state is None or state[0] == state[2]:
                return True
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._client, signal.SIGTTIN)
            time.sleep(STOP_TIMEOUT_S)  # the client stops this process meanwhile
        return False

    def _go_on(self, _number: int, _frame: FrameType | None) -> None:
        self._has_come_to_foreground()


def _handle_continue(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> None:
    with contextlib.suppress(ValueError):  # only the main thread may
        signal.signal(signal.SIGCONT, handler)
