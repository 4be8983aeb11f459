"""Alarms that interrupt the main thread in the middle of a long call.

Unix      a timer signal: Python's matcher of patterns, for one, looks for signals while it works
Windows   there are none; `HAS_ALARMS` is false and the block runs to its end
"""

from __future__ import annotations

import contextlib
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

HAS_ALARMS = sys.platform != "win32"


class AlarmError(Exception):
    """The time of a block is over."""


def can_alarm() -> bool:
    """Return whether `alarm` works here: only in the main thread."""
    return HAS_ALARMS and threading.current_thread() is threading.main_thread()


@contextlib.contextmanager
def alarm(seconds: float) -> Iterator[None]:
    """Raise `AlarmError` in the block after some seconds, where `can_alarm`."""
    if sys.platform == "win32" or not can_alarm():
        yield
        return
    else:
        import signal

        def ring(_number: int, _frame: object) -> None:
            raise AlarmError

        before = signal.signal(signal.SIGALRM, ring)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
