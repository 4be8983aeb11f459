"""Heartbeat of one runner: distinguishes a runner that hangs from a slow one.

    a load      every message is progress; none for `LOCALRUN_LOAD_TIMEOUT` is a stall
    requests    a ping every few seconds; the runner's reader answers while a step computes
        no pong for `SILENCE_S`                          the process hangs, or is stopped
        no step and hardly any processor time for it     the step hangs
        no step for `LONGEST_STEP_S`                     the step is in an endless loop

A slow prefill makes steps or uses the processor, and is not killed. A runner without requests gets
no pings; the next request begins with one.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from localrun.load_rules import LOAD_TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.runner.messages import Pong

SILENCE_S = 60.0
LONGEST_STEP_S = 1800.0
IDLE_SHARE = 0.01  # of one processor
RATE_WINDOW = 8  # pongs


class Heartbeat:
    """The messages of one runner as signs of life; each method is atomic enough for any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._message_at = self._activity_at = self._step_at = self._pong_at = clock()
        self._ping_at: float | None = None  # of the oldest ping without an answer
        self._last: Pong | None = None
        self._num_tokens: deque[tuple[float, int]] = deque(maxlen=RATE_WINDOW)
        self._is_resting = False

    @property
    def is_quiet(self) -> bool:
        """Return whether the last ping is answered, and the answer was that nothing is computed."""
        return self._ping_at is None and (self._last is None or not self._last.is_working)

    @property
    def is_resting(self) -> bool:
        """Return whether the next ping is the first after a rest."""
        return self._is_resting

    @property
    def last(self) -> Pong | None:
        """Return the newest pong."""
        return self._last

    @property
    def tokens_per_s(self) -> float:
        """Return the rate of generation over the last pongs, 0 if nothing is generated."""
        if len(self._num_tokens) < 2:  # noqa: PLR2004 - a rate needs two
            return 0.0
        (first_at, first), (last_at, last) = self._num_tokens[0], self._num_tokens[-1]
        return (last - first) / (last_at - first_at) if last_at > first_at else 0.0

    def rest(self) -> None:
        """Expect no pings until there is work."""
        self._is_resting = True

    def record_ping(self) -> None:
        """Record that a ping is sent; after a rest, all times and rates begin anew."""
        if self._is_resting:
            self._is_resting = False
            self._activity_at = self._step_at = self._pong_at = self._clock()
            self._num_tokens.clear()
        if self._ping_at is None:
            self._ping_at = self._clock()

    def record_message(self) -> None:
        """Record that a message of any kind came."""
        self._message_at = self._clock()
        self._ping_at = None

    def record_pong(self, pong: Pong) -> None:
        """Record an answer to a ping."""
        now, last = self._clock(), self._last
        has_stepped = last is None or pong.num_steps != last.num_steps or not pong.is_working
        cpu_s = 0.0 if last is None else pong.cpu_s - last.cpu_s
        if has_stepped:
            self._step_at = now
        if has_stepped or cpu_s > IDLE_SHARE * (now - self._pong_at):
            self._activity_at = now
        if not pong.is_working:
            self._num_tokens.clear()
        self._num_tokens.append((now, pong.num_tokens))
        self._last, self._pong_at = pong, now

    def load_stall_reason(self, limit_s: float | None) -> str | None:
        """Return why a load counts as hung, or None; ``limit_s`` None waits forever."""
        silent_s = self._clock() - self._message_at
        if limit_s is None or silent_s <= limit_s:
            return None
        return (
            f"it made no progress for {silent_s:.3g} s and was killed "
            f"({LOAD_TIMEOUT} is {limit_s:g} s)"
        )

    def stall_reason(self, *, timeout_scale: float = 1.0) -> str | None:
        """Return why the runner counts as hung, or None; ``timeout_scale`` scales all timeouts."""
        now, ping_at = self._clock(), self._ping_at  # the reader may clear it meanwhile
        problem, since, limit_s = "", now, 0.0
        if ping_at is not None and now - ping_at > SILENCE_S * timeout_scale:
            problem, since, limit_s = "did not answer", ping_at, SILENCE_S
        elif self._last is not None and self._last.is_working:
            problem, since, limit_s = "hung in a step", self._activity_at, SILENCE_S
            if now - since <= limit_s * timeout_scale:
                problem, since, limit_s = "was in one step", self._step_at, LONGEST_STEP_S
        if now - since <= limit_s * timeout_scale:
            return None
        return f"it {problem} for {now - since:.0f} s and was killed"
