"""Signals of a chat: Ctrl-C raises KeyboardInterrupt once, and not in the clean-up after it.

A second Ctrl-C shortly after the first is ignored: it would break what the first has started. After
`PATIENCE_S` it interrupts again, in case the clean-up hangs. SIGTERM and the end of the terminal
raise SystemExit, so that the modes are restored. All functions must run in the main thread.
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


class _Interrupts:
    """Handler of SIGINT."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.is_active = True
        self._clock = clock
        self._last_s: float | None = None

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        now_s = self._clock()
        is_early = self._last_s is not None and now_s - self._last_s < PATIENCE_S
        if self.is_active and not is_early:
            self._last_s = now_s
            raise KeyboardInterrupt


@contextmanager
def one_interrupt(clock: Callable[[], float] = time.monotonic) -> Iterator[None]:
    """Raise KeyboardInterrupt at the first SIGINT."""
    handler = _Interrupts(clock)
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        handler.is_active = False  # first: an interrupt from here on would be that of the next act
        signal.signal(signal.SIGINT, before)


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
