"""What a worker leaves with the warm process, for the case that its client is killed.

A page of shared memory per worker. A command dies with its client, as it would if it had run in
it; the modes of its terminal, such as those of a line editor, become what they were before. A
runner dies with the server. A job does not: it ends in order when its stdin closes.
"""

from __future__ import annotations

import marshal
import os
import signal
import termios
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import mmap

RECORD_BYTES = 4096
_MORTAL = 1


def record_mortal(record: mmap.mmap) -> None:
    """Record that this process dies with its client, and the modes of the terminal on stdin."""
    modes = termios.tcgetattr(0) if os.isatty(0) else None
    data = marshal.dumps(modes)
    if len(data) < RECORD_BYTES:
        record[1 : 1 + len(data)] = data
        record[0] = _MORTAL


def kill_mortal(pid: int, record: mmap.mmap) -> None:
    """Kill a worker that dies with its client, and restore its terminal."""
    if record[0] != _MORTAL:
        return
    modes = marshal.loads(record[1:])  # noqa: S302 - written by a fork of this process
    terminal = _open_stdin(pid) if modes else None
    os.kill(pid, signal.SIGKILL)
    if terminal is not None:
        try:
            termios.tcsetattr(terminal, termios.TCSANOW, modes)
        except termios.error:  # it has been closed
            pass
        finally:
            os.close(terminal)


def _open_stdin(pid: int) -> int | None:
    try:
        return os.open(f"/proc/{pid}/fd/0", os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError:
        return None
