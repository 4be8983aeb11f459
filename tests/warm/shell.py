"""A shell with job control on a terminal of its own."""

from __future__ import annotations

import sys

assert sys.platform == "linux"  # elsewhere, mypy reads no further

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import termios
from pathlib import Path
from typing import Self

from tests.waiting import HANG_S
from tests.warm_process import ROOT

BASH = ("bash", "--norc", "--noprofile", "-i")
PRESS_S = 0.5  # between two presses of a key


class Shell:
    """A program on a pseudo terminal, which is a shell if not told otherwise.

    ``$PROBE`` is the command of the probe.
    """

    def __init__(self, environ: dict[str, str], words: tuple[str, ...] = BASH) -> None:
        own = {"PS1": "$ ", "TERM": "xterm", "PROBE": f"{sys.executable} -m tests.warm.probe"}
        self.pid, self._terminal = pty.fork()
        if not self.pid:
            os.chdir(ROOT)
            os.execvpe(words[0], words, {**environ, **own})  # noqa: S606 - the test's own
        self._unread = ""
        self.resize(rows=24, columns=80)
        if words is BASH:
            self.read_until("$ ")

    def type(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def read_until(self, wanted: str) -> str:
        """Return what the screen shows up to ``wanted``, which comes or fails the test."""
        while wanted not in self._unread:
            ready, _, _ = select.select([self._terminal], [], [], HANG_S)
            assert ready, f"no {wanted!r} after {self._unread!r}"
            self._unread += os.read(self._terminal, 4096).decode(errors="replace")
        before, _, self._unread = self._unread.partition(wanted)
        return before + wanted

    def press_until(self, key: str, wanted: str) -> None:
        """Press again and again: Python sees a signal between two reads at the next one."""
        while wanted not in self._unread:
            self.type(key)
            if select.select([self._terminal], [], [], PRESS_S)[0]:
                self._unread += os.read(self._terminal, 4096).decode(errors="replace")
        self.read_until(wanted)

    def resize(self, *, rows: int, columns: int) -> None:
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def modes(self) -> list[object]:
        return termios.tcgetattr(self._terminal)

    def child(self) -> int:
        """Return the process that the shell has started."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return int(children[0])

    def close(self) -> None:
        """Close the terminal, which hangs up, and wait for the shell."""
        os.close(self._terminal)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
