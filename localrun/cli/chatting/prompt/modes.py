"""Modes of the terminal while no line editor runs: keys at once and without echo.

    Unix      termios; Ctrl-Z restores the modes before it stops the job, `fg` sets them again
    Windows   nothing is changed: the console keeps typed keys for the next prompt

Invariant: after `quiet_keys` the modes are as before, also if the job was stopped meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

PASTES_ON, PASTES_OFF = "\033[?2004h", "\033[?2004l"  # pastes in brackets

if sys.platform == "win32":
    HAS_KEYS = False  # whether single keys can be read as bytes of a file descriptor

    @contextlib.contextmanager
    def quiet_keys(descriptor: int) -> Iterator[None]:
        """Change nothing."""
        del descriptor
        yield

    @contextlib.contextmanager
    def restored_modes(descriptor: int) -> Iterator[None]:
        """Change nothing."""
        del descriptor
        yield

else:
    import termios

    HAS_KEYS = True
    INPUT_FLAGS, LOCAL_FLAGS, CONTROLS = 0, 3, 6  # of tcgetattr

    @contextlib.contextmanager
    def quiet_keys(descriptor: int) -> Iterator[None]:
        """Read keys at once and without echo; Ctrl-C and Ctrl-Z stay signals.

        Must run in the main thread.
        """
        quiet = _QuietTerminal(descriptor)
        stopped, continued = (
            signal.signal(signal.SIGTSTP, quiet.stop),
            signal.signal(signal.SIGCONT, quiet.resume),
        )
        quiet.set()
        try:
            yield
        finally:
            signal.signal(signal.SIGTSTP, stopped)
            signal.signal(signal.SIGCONT, continued)
            quiet.restore()

    @contextlib.contextmanager
    def restored_modes(descriptor: int) -> Iterator[None]:
        """Restore the modes at the end, whatever has changed them."""
        modes = _modes(descriptor)
        try:
            yield
        finally:
            _set_modes(descriptor, modes)

    class _QuietTerminal:
        """A terminal with its modes before."""

        def __init__(self, descriptor: int) -> None:
            self._descriptor = descriptor
            self._before = _modes(descriptor)

        def set(self) -> None:
            """Set the modes."""
            modes = _modes(self._descriptor)
            if modes is None:
                return
            modes[LOCAL_FLAGS] &= ~(termios.ECHO | termios.ICANON | termios.IEXTEN)
            modes[LOCAL_FLAGS] |= termios.ISIG
            modes[INPUT_FLAGS] &= ~(termios.ICRNL | termios.INLCR | termios.IGNCR)
            modes[CONTROLS][termios.VMIN], modes[CONTROLS][termios.VTIME] = 1, 0
            _set_modes(self._descriptor, modes)
            _write(PASTES_ON)

        def restore(self) -> None:
            """Set the modes as they were before."""
            _write(PASTES_OFF)
            _set_modes(self._descriptor, self._before)

        def stop(self, number: int, _frame: FrameType | None) -> None:
            """Stop this process as the terminal's shell expects it, and go on with quiet keys."""
            self.restore()
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            signal.signal(number, self.stop)  # from here on the job is continued
            self.resume(number, None)

        def resume(self, _number: int, _frame: FrameType | None) -> None:
            """Set the modes again, if the terminal belongs to this job."""
            with contextlib.suppress(OSError):
                if os.tcgetpgrp(self._descriptor) == os.getpgrp():
                    self.set()

    def _modes(descriptor: int) -> list[Any] | None:
        try:
            return termios.tcgetattr(descriptor)
        except termios.error:  # not a terminal, or one that was closed
            return None

    def _set_modes(descriptor: int, modes: list[Any] | None) -> None:
        if modes is not None:
            with contextlib.suppress(termios.error):
                termios.tcsetattr(descriptor, termios.TCSADRAIN, modes)

    def _write(codes: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # the terminal was closed
            sys.stdout.write(codes)
            sys.stdout.flush()
