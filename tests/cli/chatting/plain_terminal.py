"""Commands on a pseudo terminal whose output is read as text, for chats without redraws."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys

from tests.waiting import HANG_S, wait_until

assert sys.platform != "win32"

PROMPT = ">>> "


class Terminal:
    """A command on a pseudo terminal."""

    def __init__(self, command: list[str], env: dict[str, str]) -> None:
        self._ours, theirs = pty.openpty()
        self._process = subprocess.Popen(
            command,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=env,
            preexec_fn=_own_terminal,  # noqa: PLW1509 - two system calls, no lock is taken
        )
        os.close(theirs)
        self._unread = ""

    def read_until(self, wanted: str) -> str:
        """Return what the screen shows up to ``wanted``, which comes or fails the test."""
        while wanted not in self._unread:
            ready, _, _ = select.select([self._ours], [], [], HANG_S)
            assert ready, f"no {wanted!r} after {self._unread!r}"
            try:
                self._unread += os.read(self._ours, 4096).decode(errors="replace")
            except OSError as error:  # the program has left
                raise AssertionError(f"no {wanted!r} after {self._unread!r}") from error
        before, _, self._unread = self._unread.partition(wanted)
        return before + wanted

    def unread(self, text: str) -> None:
        """Let the next read begin with a text."""
        self._unread = text + self._unread

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def ask(self, line: str) -> str:
        """Type a line at the prompt and return what is shown until the next prompt."""
        self.read_until(PROMPT)
        self.type(line + "\n")
        return self.read_until(line)

    def exit_code(self) -> int:
        return self._process.wait(HANG_S)

    def press_until_it_leaves(self, key: str) -> int:
        """Press again and again: a signal between prompt and read is seen at the next one."""

        def has_left() -> bool:
            if self._process.poll() is None:
                self.type(key)
            return self._process.poll() is not None

        wait_until(has_left, poll_s=0.1)
        return self._process.wait()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._ours)


def _own_terminal() -> None:
    """Make the pseudo terminal the child's own, so that Ctrl-C in it is a signal."""
    import fcntl
    import termios

    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
