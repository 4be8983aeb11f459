"""Whether a runner that says nothing still works.

    a load      every sign is good; none for `LOAD_STALL_S` is a stall
    requests    it is asked every few seconds; its reader answers while a step computes
        no answer for `SILENCE_S`                       the process hangs, or is stopped
        no step and next to no processor time for it    the step hangs
        no step for `LONGEST_STEP_S`                    the step goes round in circles

A slow prefill makes steps, or uses the processor, and is left alone.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.runner.messages import Pong

LOAD_STALL_S = 600.0  # disks of other machines are slow, and mapping them shows no progress
SILENCE_S = 60.0
LONGEST_STEP_S = 1800.0
IDLE_SHARE = 0.01  # of one processor
RATE_WINDOW = 8  # signs of life


class Heartbeat:
    """The signs of life of one runner; each method is atomic enough for any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._heard_at = self._moved_at = self._stepped_at = clock()
        self._asked_at: float | None = None  # since when an answer is owed
        self._last: Pong | None = None
        self._felt_at = self._heard_at
        self._rates: deque[tuple[float, int]] = deque(maxlen=RATE_WINDOW)

    @property
    def last(self) -> Pong | None:
        """Return the newest sign of life."""
        return self._last

    @property
    def tokens_per_s(self) -> float:
        """Return the tokens a second of the last few signs, 0 while nothing is generated."""
        if len(self._rates) < 2:  # noqa: PLR2004 - two make a difference
            return 0.0
        (begun, before), (ended, after) = self._rates[0], self._rates[-1]
        return (after - before) / (ended - begun) if ended > begun else 0.0

    def asked(self) -> None:
        """Note that an answer is owed."""
        if self._asked_at is None:
            self._asked_at = self._clock()

    def heard(self) -> None:
        """Note that it said something."""
        self._heard_at = self._clock()
        self._asked_at = None

    def felt(self, pong: Pong) -> None:
        """Take an answer."""
        now, last = self._clock(), self._last
        has_stepped = last is None or pong.num_steps != last.num_steps or not pong.is_working
        used = 0.0 if last is None else pong.cpu_s - last.cpu_s
        if has_stepped:
            self._stepped_at = now
        if has_stepped or used > IDLE_SHARE * (now - self._felt_at):
            self._moved_at = now
        if not pong.is_working:
            self._rates.clear()
        self._rates.append((now, pong.num_tokens))
        self._last, self._felt_at = pong, now

    def stall(self, *, is_loading: bool, patience: float = 1.0) -> str | None:
        """Return why it counts as dead, None while it lives; ``patience`` scales all times."""
        now = self._clock()
        if is_loading:
            silent = now - self._heard_at
            return _told("made no progress", silent) if silent > LOAD_STALL_S * patience else None
        if self._asked_at is not None and now - self._asked_at > SILENCE_S * patience:
            return _told("did not answer", now - self._asked_at)
        if self._last is None or not self._last.is_working:
            return None
        if now - self._moved_at > SILENCE_S * patience:
            return _told("hung in a step", now - self._moved_at)
        if now - self._stepped_at > LONGEST_STEP_S * patience:
            return _told("was in one step", now - self._stepped_at)
        return None


def _told(what: str, seconds: float) -> str:
    return f"it {what} for {seconds:.0f} s and was killed"
