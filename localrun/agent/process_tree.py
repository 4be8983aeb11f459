"""Process tree of a command: every process that it has started, until none is left.

A process leaves the group of its parent by ``setsid`` and its family by a second fork. Therefore a
tree is three things: the process group, the descendants, and (Linux) all processes whose
environment has the mark of the command. Invariant: after `kill`, no process of the tree runs that
has kept its environment.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from localrun.system.processes import kill_group

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localrun.system.processes import ChildProcess

MARK = "LOCALRUN_COMMAND"
LARGEST_ENVIRONMENT = 1024 * 1024  # bytes
PROC = Path("/proc")  # Linux
MAX_PASSES = 10  # a process may fork while the others are killed


class ProcessTree:
    """A running command; ``mark`` is the value of `MARK` in its environment."""

    def __init__(self, child: ChildProcess, mark: str) -> None:
        self._child = child
        self._mark = f"{MARK}={mark}".encode()

    def kill(self) -> None:
        """Kill all processes of the tree."""
        kill_group(self._child)
        for _ in range(MAX_PASSES):
            if not any([_kill(process_id) for process_id in self._marked()]):  # noqa: C419 - all
                break

    def _marked(self) -> Iterator[int]:
        folders = PROC.iterdir() if PROC.is_dir() else ()
        for folder in folders:
            if folder.name.isdecimal() and int(folder.name) != os.getpid():
                with contextlib.suppress(OSError), (folder / "environ").open("rb") as file:
                    if self._mark in file.read(LARGEST_ENVIRONMENT).split(b"\0"):
                        yield int(folder.name)


def new_mark() -> str:
    """Return the mark of one command."""
    return secrets.token_hex(16)


def _kill(process_id: int) -> bool:
    try:
        if sys.platform == "win32":
            os.kill(process_id, signal.SIGTERM)
        else:
            os.kill(process_id, signal.SIGKILL)
    except OSError:
        return False
    return True
