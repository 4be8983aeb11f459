"""Signals of a chat: Ctrl-C raises KeyboardInterrupt once, and only where it breaks nothing.

A second Ctrl-C shortly after the first is ignored: it would break what the first has started. After
`PATIENCE_S` it interrupts again, in case the clean-up hangs. While threads start and the modes of
the terminal change, an interrupt is only noted. SIGTERM and the end of the terminal raise
SystemExit, so that the modes are restored. All functions must run in the main thread.
"""

from __future__ import annotations

import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

PATIENCE_S = 2.0
KILLED = 128  # plus the number of the signal
ENDING = ("SIGTERM", "SIGHUP")


class Interrupts:
    """Handler of SIGINT.

    Python calls it between any two instructions of the main thread. What must not be left half done
    belongs into `held`, and what the user may interrupt within that into `allowed`.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._is_held = False
        self._is_noted = False
        self._last_s: float | None = None
        self._taker: Callable[[], None] | None = None

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        """Interrupt what runs, or note that the user wants it."""
        if self._is_held:
            (self._taker or self.note)()
            return
        now_s = self._clock()
        if self._last_s is None or now_s - self._last_s >= PATIENCE_S:
            self._last_s = now_s
            raise KeyboardInterrupt

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Handle SIGINT."""
        before = signal.signal(signal.SIGINT, self)
        try:
            yield
        finally:
            self._is_held = True  # first: from here on an interrupt would be that of the next act
            signal.signal(signal.SIGINT, before)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Note interrupts instead of raising them; those before are forgotten."""
        was_held, self._is_held = self._is_held, True
        self._last_s = None
        self.forget()
        try:
            yield
        finally:
            self._is_held = was_held

    @contextmanager
    def allowed(self) -> Iterator[None]:
        """Raise interrupts within `held`, first the one that was noted.

        Raises:
            KeyboardInterrupt: the user interrupts.
        """
        self._is_held = False
        try:
            if self._is_noted:
                self.forget()
                self(signal.SIGINT, None)
            yield
        finally:
            self._is_held = True

    @contextmanager
    def given_to(self, taker: Callable[[], None]) -> Iterator[None]:
        """Call a function at each interrupt within `held`; what was noted before is forgotten."""
        self._taker = taker
        self.forget()
        try:
            yield
        finally:
            self.keep()

    def keep(self) -> None:
        """Note interrupts again instead of giving them to a function."""
        self._taker = None

    def note(self) -> None:
        """Note an interrupt, which the next `allowed` raises."""
        self._is_noted = True

    def forget(self) -> None:
        """Forget the interrupt that was noted."""
        self._is_noted = False


@contextmanager
def one_interrupt(clock: Callable[[], float] = time.monotonic) -> Iterator[None]:
    """Raise KeyboardInterrupt at the first SIGINT."""
    with Interrupts(clock).installed():
        yield


@contextmanager
def orderly_end() -> Iterator[None]:
    """Raise SystemExit at a signal that would end the process, unless it is ignored (nohup)."""
    numbers = [getattr(signal, name) for name in ENDING if hasattr(signal, name)]
    caught = [number for number in numbers if signal.getsignal(number) == signal.SIG_DFL]
    for number in caught:
        signal.signal(number, _end)
    try:
        yield
    finally:
        for number in caught:
            signal.signal(number, signal.SIG_DFL)


def _end(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(KILLED + number)
