"""Signals of a chat: Ctrl-C raises KeyboardInterrupt once, and not where it would break something.

A second Ctrl-C shortly after the first is ignored: it would break what the first has started. While
threads start and end, and the modes of the terminal change, an interrupt is only noted. SIGTERM and
the end of the terminal raise SystemExit, so that the modes are restored. All functions must run in
the main thread.
"""

from __future__ import annotations

import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from types import FrameType

PATIENCE_S = 2.0
KILLED = 128  # plus the number of the signal
ENDING = ("SIGTERM", "SIGHUP")


class Interrupts:
    """Handler of SIGINT.

    Python calls it between any two instructions of the main thread, at the borders of a context as
    well. So what must not be left half done belongs in `held`, and what the user may interrupt
    within that in `allowed`.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._is_noted = False
        self._last_s: float | None = None
        self._taker: Callable[[], None] | None = None
        self.is_held = False

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        """Raise KeyboardInterrupt; within `held`, note the interrupt or call the taker."""
        now_s = self._clock()
        if self._last_s is not None and now_s - self._last_s < PATIENCE_S:
            return
        if self.is_held:
            (self._taker or self.note)()
            return
        self._last_s = now_s
        raise KeyboardInterrupt

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Handle SIGINT."""
        self.is_held = False
        before = signal.signal(signal.SIGINT, self)
        try:
            yield
        finally:
            self.is_held = True  # first: from here on an interrupt would be that of the next act
            signal.signal(signal.SIGINT, before)

    def held(self) -> AbstractContextManager[None]:
        """Return a context that notes interrupts, the next one at once."""
        return _Held(self)

    def allowed(self) -> AbstractContextManager[None]:
        """Return a context within `held` that raises interrupts, first the one that was noted."""
        return _Allowed(self)

    @contextmanager
    def given_to(self, taker: Callable[[], None]) -> Iterator[None]:
        """Call a function at each interrupt within `held`; what was noted before is forgotten."""
        self._taker = taker
        self._is_noted = False
        try:
            yield
        finally:
            self.stop_giving()

    def stop_giving(self) -> None:
        """Note interrupts again instead of giving them to a function."""
        self._taker = None

    def renew(self) -> None:
        """Forget when the last interrupt was, so that the next one is taken at once."""
        self._last_s = None

    def note(self) -> None:
        """Note an interrupt, which the next `allowed` raises."""
        self._is_noted = True

    def raise_noted(self) -> None:
        """Raise the interrupt that was noted, if there is one.

        Raises:
            KeyboardInterrupt: the user has interrupted.
        """
        if self._is_noted:
            self._is_noted = False
            self._last_s = self._clock()
            raise KeyboardInterrupt


class _Held:
    """Context that notes interrupts; not a generator, which an interrupt could leave unfinished."""

    def __init__(self, interrupts: Interrupts) -> None:
        self._interrupts = interrupts
        self._was_held = False

    def __enter__(self) -> None:
        self._was_held, self._interrupts.is_held = self._interrupts.is_held, True
        self._interrupts.renew()

    def __exit__(self, *_: object) -> None:
        self._interrupts.is_held = self._was_held


class _Allowed:
    """Context that raises interrupts; not a generator, which one could leave unfinished."""

    def __init__(self, interrupts: Interrupts) -> None:
        self._interrupts = interrupts

    def __enter__(self) -> None:
        self._interrupts.is_held = False
        self._interrupts.raise_noted()

    def __exit__(self, *_: object) -> None:
        self._interrupts.is_held = True


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
