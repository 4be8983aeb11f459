"""Event loop in virtual time, which counts its wake-ups.

If no callback and no file is ready, the clock jumps to the next timer instead of waiting for it:
hours pass in no time, and each of their timers counts as one wake-up.
"""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")


class VirtualLoop(asyncio.SelectorEventLoop):
    """The loop; ``num_wakeups`` counts how often it would have slept until a timer was due."""

    def __init__(self) -> None:
        self.now = 0.0
        self.num_wakeups = 0
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        return self.now

    def run_in_executor(
        self, _executor: object, work: Callable[..., T], *arguments: object
    ) -> asyncio.Future[T]:
        """Work at once: no time passes meanwhile."""
        future = self.create_future()
        future.set_result(work(*arguments))
        return future


class _JumpingSelector(selectors.DefaultSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:  # nothing but a file or another thread can wake the loop
            return super().select(None)
        ready = super().select(0)
        if not ready and timeout > 0:
            self._loop.now += timeout
            self._loop.num_wakeups += 1
        return ready


def run_virtually(main: Callable[[VirtualLoop], Awaitable[None]]) -> VirtualLoop:
    """Run a coroutine function to its end and return the loop."""
    loop = VirtualLoop()

    async def run() -> None:
        await main(loop)

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(run())
    return loop
