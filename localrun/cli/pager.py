"""Pager of long texts: ``$PAGER``, else less or more; only on a terminal.

A text that fits on the screen is printed, and so is one for which no pager starts.
"""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from localrun.cli.output import is_terminal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

    from localrun.cli.output import Output

PAGERS = ("less", "more")
LESS = "FRX"  # leave at once if the text fits, pass colors, keep the text on the screen
PRINTERS = {"", "cat"}  # of PAGER: no pager
WIDEST = 100


class Written(io.StringIO):
    """Text that a library writes as for a stream, which decides on colors and characters."""

    encoding = ""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self.encoding = stream.encoding
        self._stream = stream

    def isatty(self) -> bool:
        """Return whether the stream is a terminal."""
        return is_terminal(self._stream)


def has_screen() -> bool:
    """Return whether stdout is a terminal that can scroll."""
    return is_terminal(sys.stdout) and os.environ.get("TERM") != "dumb"


def has_color() -> bool:
    """Return whether text on stdout may have colors."""
    return has_screen() and not os.environ.get("NO_COLOR")


def screen_width() -> int | None:
    """Return the columns of the terminal, at most 100; None if stdout is none."""
    if not is_terminal(sys.stdout):
        return None
    return min(shutil.get_terminal_size().columns, WIDEST)


def show(text: str, output: Output, *, uses_pager: bool) -> None:
    """Print a text of our own, by the pager if it is longer than the screen."""
    is_long = text.count("\n") >= shutil.get_terminal_size().lines
    command = _pager() if uses_pager and is_long and has_screen() else None
    if command is None or not _paged(text, command):
        output.page(text)


def _pager() -> list[str] | None:
    named = os.environ.get("PAGER")
    if named is not None:
        return None if named.strip() in PRINTERS else shlex.split(named)
    return next(([name] for name in PAGERS if shutil.which(name)), None)


def _paged(text: str, command: list[str]) -> bool:
    """Return whether a pager has shown the text."""
    environ = {"LESS": LESS, **os.environ}
    with _without_interrupts():
        try:
            pager = subprocess.Popen(command, stdin=subprocess.PIPE, env=environ)  # noqa: S603 - the user's choice
        except OSError:
            return False
        pager.communicate(text.encode(errors="replace"))
    return True


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Ignore Ctrl-C, which belongs to the pager."""
    former = signal.signal(signal.SIGINT, lambda *_: None)  # not SIG_IGN, which it would inherit
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)
