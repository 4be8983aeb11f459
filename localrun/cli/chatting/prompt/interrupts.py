"""Interrupts of an answer: Ctrl-C raises KeyboardInterrupt once, and not in the clean-up after it.

A second Ctrl-C shortly after the first is ignored: it would break what the first has started. After
`PATIENCE_S` it interrupts again, in case the clean-up hangs.
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
    """Raise KeyboardInterrupt in the main thread at the first SIGINT; must run in that thread."""
    handler = _Interrupts(clock)
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        handler.is_active = False  # first: an interrupt from here on would be that of the next act
        signal.signal(signal.SIGINT, before)
