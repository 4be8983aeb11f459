"""Tell the server how busy the runner is, without costing a step anything."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from localrun.runner.messages import Stats

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.engine.scheduler import Scheduler
    from localrun.runner.messages import Event

EVERY_S = 1.0


class EngineCounts(Protocol):
    """A KV cache, of either kind."""

    @property
    def num_used(self) -> int:
        """Return the number of cells that are not free."""


class StatsReporter:
    """Sends a `Stats` when it differs from the last one and that is a while ago, or all is done."""

    def __init__(
        self,
        read: Callable[[], Stats],
        send: Callable[[Event], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._send = send
        self._clock = clock
        self._told = Stats()
        self._told_at = -EVERY_S

    def tell(self, *, is_idle: bool) -> None:
        """Send what is new, if it is time; called after each step."""
        now = self._clock()
        if not is_idle and now - self._told_at < EVERY_S:
            return
        self._told_at, stats = now, self._read()
        if stats != self._told:
            self._told = stats
            self._send(stats)


def read_stats(scheduler: Scheduler, cache: EngineCounts, num_cells: int) -> Stats:
    """Return how busy the engine is."""
    return Stats(
        num_running=len(scheduler.running),
        num_waiting=scheduler.num_waiting,
        num_cells=num_cells,
        num_used_cells=cache.num_used,
    )
