"""A program on a pseudo terminal with an emulated screen, driven by keys."""

from __future__ import annotations

import sys

assert sys.platform != "win32"  # elsewhere, mypy reads no further

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import termios
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pyte

from tests.waiting import HANG_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

KEYS = {
    "enter": "\r", "esc": "\x1b", "up": "\x1b[A", "down": "\x1b[B", "right": "\x1b[C",
    "left": "\x1b[D", "tab": "\t", "s-tab": "\x1b[Z", "backspace": "\x7f", "a-enter": "\x1b\r",
    "home": "\x1b[H", "end": "\x1b[F",
}  # fmt: skip
READ_BYTES = 65536


class PtyScreen:
    """A program and what its terminal shows; a thread reads the terminal at once."""

    def __init__(
        self, argv: Sequence[str], env: dict[str, str], *, columns: int = 80, lines: int = 24
    ) -> None:
        self.raw = b""
        self._screen = pyte.HistoryScreen(columns, lines, history=100_000)
        self._stream = pyte.ByteStream(self._screen)
        self._lock = threading.Lock()
        self.pid, self._terminal = pty.fork()
        if not self.pid:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("4H", lines, columns, 0, 0))
            os.execvpe(argv[0], list(argv), env)  # noqa: S606 - the test's own
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)
        self._reader.join(HANG_S)
        os.close(self._terminal)

    def type(self, text: str) -> None:
        """Send a text, however long it is."""
        content = memoryview(text.encode())
        while content:
            _, ready, _ = select.select([], [self._terminal], [], HANG_S)
            assert ready, "the program does not read"
            content = content[os.write(self._terminal, content[:1024]) :]

    def key(self, name: str) -> None:
        """Send a key: ``c-c``, or a name."""
        self.type(KEYS.get(name) or (chr(ord(name[2:]) & 0x1F) if name[1:] else name))

    def paste(self, text: str) -> None:
        """Send a paste in brackets."""
        self.type(f"\x1b[200~{text}\x1b[201~")

    def wait_for(self, wanted: str | Callable[[str], bool]) -> str:
        """Return the screen as soon as it shows a text or meets a condition."""
        condition = wanted if callable(wanted) else lambda screen: wanted in screen
        try:
            wait_until(lambda: condition(self.screen()))
        except AssertionError:
            raise AssertionError(f"no {wanted!r} on:\n{self.screen()}") from None
        return self.screen()

    def screen(self) -> str:
        """Return the lines of the screen."""
        with self._lock:
            lines = [line.rstrip() for line in self._screen.display]
        return "\n".join(lines).rstrip("\n")

    def everything(self) -> str:
        """Return what has scrolled off, and the screen."""
        with self._lock:
            old = [
                "".join(line[column].data for column in range(self._screen.columns)).rstrip()
                for line in self._screen.history.top
            ]
        return "\n".join([*old, self.screen()])

    def cursor(self) -> tuple[int, int]:
        """Return line and column of the cursor."""
        with self._lock:
            return self._screen.cursor.y, self._screen.cursor.x

    def resize(self, columns: int, lines: int) -> None:
        """Change the size of the window."""
        with self._lock:
            self._screen.resize(lines, columns)
        size = struct.pack("4H", lines, columns, 0, 0)
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, size)

    def local_modes(self) -> dict[str, bool]:
        """Return whether the terminal echoes and collects lines."""
        flags = termios.tcgetattr(self._terminal)[3]
        names = ("ECHO", "ICANON", "ISIG", "IEXTEN")
        return {name: bool(flags & getattr(termios, name)) for name in names}

    def num_unread(self) -> int:
        """Return the number of bytes in whole lines that the program has not read; on Linux."""
        with Path(f"/proc/{self.pid}/fd/0").open("rb") as terminal:
            count = fcntl.ioctl(terminal, termios.FIONREAD, bytes(4))
        return int.from_bytes(count, sys.byteorder)

    def exit_status(self) -> int:
        """Wait for the end; return the exit code, or the signal as a negative number."""
        status: list[int] = []

        def has_ended() -> bool:
            pid, code = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                status.append(os.waitstatus_to_exitcode(code))
            return bool(pid)

        wait_until(has_ended)
        return status[0]

    def _read(self) -> None:
        while True:
            try:
                content = os.read(self._terminal, READ_BYTES)
            except OSError:  # the program has ended
                return
            if not content:
                return
            with self._lock:
                self.raw += content
                self._stream.feed(content)
