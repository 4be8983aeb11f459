"""Modes of the terminal from the first prompt of a chat to its end.

    line editor    sets and restores modes of its own
    hushed         between prompts: typed keys are kept by the terminal, and not echoed
    quiet          while an answer is printed: keys arrive at once, and are not echoed
    usual          the user's own editor runs, or the job is stopped (Ctrl-Z)

Without echo, Ctrl-C discards nothing of what is typed (NOFLSH): a reader that was told of a key
would else wait for another. On Windows nothing is changed: the console keeps typed keys for the
next prompt. Invariant: after `TerminalModes.close`, and while the job is stopped, the modes are
those before the chat.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

PASTES_ON, PASTES_OFF = "\033[?2004h", "\033[?2004l"  # pastes in brackets

if sys.platform == "win32":
    HAS_KEYS = False  # whether single keys can be read as bytes of a file descriptor

    class TerminalModes:
        """Modes that stay as they are."""

        def __init__(self, descriptor: int) -> None:
            self.descriptor = descriptor

        def quiet(self) -> contextlib.AbstractContextManager[None]:
            """Change nothing."""
            return contextlib.nullcontext()

        def usual(self) -> contextlib.AbstractContextManager[None]:
            """Change nothing."""
            return contextlib.nullcontext()

        def line_editor(self) -> contextlib.AbstractContextManager[None]:
            """Change nothing."""
            return contextlib.nullcontext()

        def close(self) -> None:
            """Change nothing."""

    def unflushed(descriptor: int) -> contextlib.AbstractContextManager[None]:
        """Change nothing."""
        del descriptor
        return contextlib.nullcontext()

else:
    import termios

    HAS_KEYS = True
    INPUT_FLAGS, LOCAL_FLAGS, CONTROLS = 0, 3, 6  # of tcgetattr

    class TerminalModes:
        """Modes of a terminal; all methods belong to the main thread."""

        def __init__(self, descriptor: int) -> None:
            self.descriptor = descriptor
            self._before = _modes(descriptor)
            self._has_brackets = False  # around pastes
            self._set: Callable[[], None] = self._hush
            self._handlers = {
                number: signal.signal(number, handler)
                for number, handler in (
                    (signal.SIGTSTP, self._stop),
                    (signal.SIGCONT, self._resume),
                )
            }
            self._set()

        def quiet(self) -> contextlib.AbstractContextManager[None]:
            """Return a context in which keys arrive at once; Ctrl-C and Ctrl-Z stay signals."""
            return self._while(self._quiet)

        def usual(self) -> contextlib.AbstractContextManager[None]:
            """Return a context with the modes before the chat."""
            return self._while(self._restore, is_own=False)

        def line_editor(self) -> contextlib.AbstractContextManager[None]:
            """Return a context in which a line editor changes the modes."""
            return self._while(lambda: self._bracket_pastes(is_on=False), is_own=False)

        def close(self) -> None:
            """Restore the modes before the chat."""
            for number, handler in self._handlers.items():
                signal.signal(number, handler)
            self._restore()

        @contextlib.contextmanager
        def _while(self, set_modes: Callable[[], None], *, is_own: bool = True) -> Iterator[None]:
            """Set modes for a while; if they are not our own, `fg` does not set them again."""
            before, self._set = self._set, set_modes if is_own else lambda: None
            set_modes()
            try:
                yield
            finally:
                self._set = before
                self._set()

        def _hush(self) -> None:
            self._bracket_pastes(is_on=False)
            if self._before is not None:
                modes = _copy(self._before)
                modes[LOCAL_FLAGS] &= ~termios.ECHO
                modes[LOCAL_FLAGS] |= termios.NOFLSH
                _set_modes(self.descriptor, modes)

        def _quiet(self) -> None:
            if self._before is not None:
                modes = _copy(self._before)
                modes[LOCAL_FLAGS] &= ~(termios.ECHO | termios.ICANON | termios.IEXTEN)
                modes[LOCAL_FLAGS] |= termios.ISIG | termios.NOFLSH
                modes[INPUT_FLAGS] &= ~(termios.ICRNL | termios.INLCR | termios.IGNCR)
                modes[CONTROLS][termios.VMIN], modes[CONTROLS][termios.VTIME] = 1, 0
                _set_modes(self.descriptor, modes)
                self._bracket_pastes(is_on=True)

        def _restore(self) -> None:
            self._bracket_pastes(is_on=False)
            _set_modes(self.descriptor, self._before)

        def _bracket_pastes(self, *, is_on: bool) -> None:
            if is_on != self._has_brackets:
                _write(PASTES_ON if is_on else PASTES_OFF)
                self._has_brackets = is_on

        def _stop(self, number: int, _frame: FrameType | None) -> None:
            """Stop this process as the terminal's shell expects it, then go on."""
            try:
                self._restore()
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)
            finally:  # from here on the job is continued, maybe with an interrupt
                signal.signal(number, self._stop)
                self._resume(number, None)

        def _resume(self, _number: int, _frame: FrameType | None) -> None:
            """Set the modes again, if the terminal belongs to this job."""
            with contextlib.suppress(OSError):
                if os.tcgetpgrp(self.descriptor) == os.getpgrp():
                    self._set()

    @contextlib.contextmanager
    def unflushed(descriptor: int) -> Iterator[None]:
        """Let Ctrl-C discard nothing of what is typed: the end of a paste might be a part of it."""
        before = _modes(descriptor)
        if before is not None:
            modes = _copy(before)
            modes[LOCAL_FLAGS] |= termios.NOFLSH
            _set_modes(descriptor, modes)
        try:
            yield
        finally:
            _set_modes(descriptor, before)

    def _modes(descriptor: int) -> list[Any] | None:
        try:
            return termios.tcgetattr(descriptor)
        except termios.error:  # not a terminal, or one that was closed
            return None

    def _copy(modes: list[Any]) -> list[Any]:
        return [list(each) if isinstance(each, list) else each for each in modes]

    def _set_modes(descriptor: int, modes: list[Any] | None) -> None:
        if modes is not None:
            with contextlib.suppress(termios.error):
                termios.tcsetattr(descriptor, termios.TCSADRAIN, modes)

    def _write(codes: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # the terminal was closed
            sys.stdout.write(codes)
            sys.stdout.flush()
