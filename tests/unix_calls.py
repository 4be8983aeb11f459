"""What tests ask of the system in Unix's way, for every system.

A test that needs what only Unix has is skipped elsewhere. A file of tests in which nothing else is
left begins with an assert on ``sys.platform``, which mypy reads; it is not collected elsewhere.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

if TYPE_CHECKING:
    from pathlib import Path

ONLY_LINUX = 'assert sys.platform == "linux"'
NOT_ON_WINDOWS = 'assert sys.platform != "win32"'


def is_for_another_system(path: Path) -> bool:
    """Return whether a file of tests asserts another system than this one."""
    is_linux, is_windows = sys.platform == "linux", sys.platform == "win32"
    text = path.read_text(encoding="utf-8") if path.suffix == ".py" and not is_linux else ""
    return ONLY_LINUX in text or (is_windows and NOT_ON_WINDOWS in text)


def make_pipe(path: Path) -> None:
    """Create a named pipe."""
    if sys.platform == "win32":
        pytest.skip("a folder of Windows has no pipes")
    else:
        os.mkfifo(path)


def fork() -> int:
    """Return the process id of a copy of this process, 0 in the copy."""
    if sys.platform == "win32":
        pytest.skip("Windows cannot fork")
    else:
        return os.fork()


def open_terminal() -> tuple[int, int]:
    """Return both ends of a pseudo terminal: the keyboard and screen, and the program's."""
    if sys.platform == "win32":
        pytest.skip("Windows has no pseudo terminals as files")
    else:
        import pty

        return pty.openpty()


def num_open_files(process: psutil.Process | None = None) -> int:
    """Return the number of open files of a process, by default this one."""
    process = process or psutil.Process()
    if sys.platform == "win32":
        return process.num_handles()
    else:  # noqa: RET505 - mypy follows both branches
        return process.num_fds()


def user_id() -> int:
    """Return the user of this process; 0 is root."""
    if sys.platform == "win32":
        return -1
    else:  # noqa: RET505 - mypy follows both branches
        return os.geteuid()
