"""Budget of processor time and built text for preparing one request.

An `Allowance` belongs to a request: all renders of its templates, the probes of a new template
and tokenizing share it. A `Budget` belongs to a compiled template and forwards charges to the
allowance of the render in the calling thread.

Time is processor time of the thread, so a busy machine refuses no request that an idle one
accepts. The processor clock costs a system call, so the wall clock is read first: processor time
never runs faster.
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
    """The limits of one request."""

    seconds: float = 10.0  # of processor time
    built: int = 512 * 1024 * 1024  # total text, in the unit of sizes.py


class Allowance:
    """The remaining budget of one request. Used by the one thread that prepares the request.

    ``on_slice`` is called whenever another ``slice_s`` seconds have passed: it may wait, so that
    other requests go first, or raise, to end the request.
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
        self._next_check = wall() + min(slice_s, self._limits.seconds)

    def charge(self, size: int) -> None:
        """Charge a size before it is built, and check the time.

        Raises:
            RequestTooCostlyError: the size or the time exceeds the limits.
        """
        self._size -= size
        if size > MAX_SIZE or self._size < 0:
            raise RequestTooCostlyError(
                "the model's chat template is stopped: it builds too much text"
            )
        self.tick()

    def tick(self) -> None:
        """Check the processor time.

        Raises:
            RequestTooCostlyError: the time exceeds the limit.
        """
        if self._wall() < self._next_check:
            return
        self._on_slice()
        left = self._end - self._processor()
        if left <= 0:
            raise RequestTooCostlyError(
                f"the request is stopped: rendering and tokenizing it took more than"
                f" {self._limits.seconds:g} s of processor time",
                hint="shorten the conversation, or use a simpler chat template",
            )
        self._next_check = self._wall() + min(self._slice_s, left)


class Budget:
    """Budget of one compiled template: forwards to the allowance of the calling thread."""

    def __init__(self) -> None:
        self._current = _Current()

    @contextmanager
    def spent(self, allowance: Allowance) -> Iterator[None]:
        """Charge the work of the calling thread within the block to an allowance."""
        before, self._current.allowance = self._current.allowance, allowance
        try:
            yield
        finally:
            self._current.allowance = before

    def charge(self, size: int) -> None:
        """Charge a size before it is built, and check the time.

        Raises:
            RequestTooCostlyError: the size or the time exceeds the limits.
        """
        self._current.allowance.charge(size)

    def tick(self) -> bool:
        """Check the processor time. Return True: generated code calls this within expressions.

        Raises:
            RequestTooCostlyError: the time exceeds the limit.
        """
        self._current.allowance.tick()
        return True

    def steps(self, items: Iterable[Any]) -> Iterator[Any]:
        """Yield the items of a loop, and check the time at each."""
        tick = self._current.allowance.tick
        for item in items:
            tick()
            yield item


class _Current(threading.local):
    def __init__(self) -> None:
        self.allowance = Allowance(RenderLimits(seconds=math.inf))
