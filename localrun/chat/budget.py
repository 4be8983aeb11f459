"""What one request may use of the processor and of memory before it is answered.

An `Allowance` belongs to a request: all renders of its templates, the probing of a new
template and the tokenizing share it. A `Budget` belongs to a compiled template and passes on
to the allowance of the render that runs in the calling thread.

Time is processor time of the thread, so a busy machine refuses no request that a quiet one
takes. The processor's clock costs a system call; a look at the wall clock comes first, since
processor time never runs faster.
"""

from __future__ import annotations

import math
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from localrun.chat.sizes import MAX_SIZE
from localrun.errors import RequestTooCostlyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class RenderLimits:
    """The most that one request may use."""

    seconds: float = 10.0  # of processor time
    built: int = 512 * 1024 * 1024  # of all text that is ever built, in the unit of sizes.py


class Allowance:
    """What is left to one request, which one thread prepares.

    ``on_slice`` is called each time another ``slice_s`` seconds have passed; it may wait, to let
    other requests go first, or raise, to end this one.
    """

    def __init__(
        self,
        limits: RenderLimits | None = None,
        *,
        wall: Clock = time.monotonic,
        processor: Clock = time.thread_time,
        slice_s: float = math.inf,
        on_slice: Callable[[], None] = lambda: None,
    ) -> None:
        self._limits = limits or RenderLimits()
        self._wall, self._processor = wall, processor
        self._slice_s, self._on_slice = slice_s, on_slice
        self._size = self._limits.built
        self._end = processor() + self._limits.seconds
        self._look_at = wall() + min(slice_s, self._limits.seconds)  # nothing is due before

    def charge(self, size: int) -> None:
        """Count what is about to be built.

        Raises:
            RequestTooCostlyError: it is too much, or the time is over.
        """
        self._size -= size
        if size > MAX_SIZE or self._size < 0:
            raise RequestTooCostlyError(
                "the model's chat template is stopped: it builds too much text"
            )
        self.tick()

    def tick(self) -> None:
        """Check the time.

        Raises:
            RequestTooCostlyError: it is over.
        """
        if self._wall() < self._look_at:
            return
        self._on_slice()
        left = self._end - self._processor()
        if left <= 0:
            raise RequestTooCostlyError(
                f"the request is stopped: rendering and tokenizing it took more than"
                f" {self._limits.seconds:g} s of processor time",
                hint="shorten the conversation, or use a simpler chat template",
            )
        self._look_at = self._wall() + min(self._slice_s, left)


class Budget:
    """What the renders of one compiled template charge: the allowance of the calling thread."""

    def __init__(self) -> None:
        self._current = _Current()

    @contextmanager
    def spent(self, allowance: Allowance) -> Iterator[None]:
        """Charge what the calling thread does inside of the block to an allowance."""
        before, self._current.allowance = self._current.allowance, allowance
        try:
            yield
        finally:
            self._current.allowance = before

    def charge(self, size: int) -> None:
        """Count what is about to be built.

        Raises:
            RequestTooCostlyError: it is too much, or the time is over.
        """
        self._current.allowance.charge(size)

    def tick(self) -> bool:
        """Check the time; always true, for the call stands inside of expressions.

        Raises:
            RequestTooCostlyError: it is over.
        """
        self._current.allowance.tick()
        return True

    def steps(self, items: Iterable[Any]) -> Iterator[Any]:
        """Yield the items of a loop and check the time at each."""
        tick = self._current.allowance.tick
        for item in items:
            tick()
            yield item


class _Current(threading.local):
    def __init__(self) -> None:
        self.allowance = Allowance(RenderLimits(seconds=math.inf))
