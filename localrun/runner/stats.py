"""Statistics of a runner: the numbers of `Stats` and `Count`, and when `Stats` is sent.

All methods run on the engine thread. Invariant that `Count` makes testable from outside the
process: without open requests and cached prefixes llama.cpp's KV cache is empty.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from localrun.engine.cache.kv_cache import CellLayout
from localrun.runner.messages import Counts, Stats

if TYPE_CHECKING:
    from collections.abc import Callable, Sized

    from localrun.engine.cache.cell_supply import CellSupply
    from localrun.runner.messages import Count, Event

INTERVAL_S = 1.0


class CountedScheduler(Protocol):
    """Numbers that a scheduler has."""

    @property
    def running(self) -> Sized:
        """Return the sequences that run."""

    @property
    def num_waiting(self) -> int:
        """Return the number of sequences that are not admitted yet."""


class CountedCache(Protocol):
    """Numbers that a KV cache of either kind has."""

    supply: CellSupply

    @property
    def num_used_cells(self) -> int:
        """Return the number of cells that are not free."""

    @property
    def layout(self) -> CellLayout:
        """Return where the cells of running sequences are."""

    @property
    def num_switches(self) -> int:
        """Return how often the layout has changed."""

    def clear(self) -> None:
        """Evict all cached prefixes."""


class CountedContext(Protocol):
    """Numbers that a llama.cpp context has."""

    @property
    def num_holders(self) -> int:
        """Return the number of llama.cpp sequences that hold a cell or a state."""

    @property
    def num_samplers(self) -> int:
        """Return the number of samplers that exist."""


class EngineCounters:
    """Numbers of one loaded model: running and waiting requests, cells, samplers."""

    def __init__(
        self,
        scheduler: CountedScheduler,
        cache: CountedCache,
        context: CountedContext,
    ) -> None:
        self._scheduler = scheduler
        self._cache = cache
        self._context = context

    def stats(self) -> Stats:
        """Return the load of the engine."""
        supply = self._cache.supply
        return Stats(
            num_running=len(self._scheduler.running),
            num_waiting=self._scheduler.num_waiting,
            num_cells=supply.num_reserved,
            num_allocated_cells=supply.num_cells,
            num_used_cells=self._cache.num_used_cells,
            lacks_memory=supply.lacks_memory,
            uses_streams=not self._cache.layout.is_unified,
            is_transposed=self._cache.layout is CellLayout.TRANSPOSED,
            num_layout_switches=self._cache.num_switches,
        )

    def counts(self, request: Count, num_open: int) -> Counts:
        """Return the answer to a `Count`, after evicting cached prefixes if it asks for that."""
        if request.forget:
            self._cache.clear()
        return Counts(
            request_id=request.request_id,
            num_open=num_open,
            num_cells=self._cache.num_used_cells,
            num_holders=self._context.num_holders,
            num_samplers=self._context.num_samplers,
        )


class StatsReporter:
    """Rate limit of `Stats`: sent when changed, once per `INTERVAL_S` or when the engine idles."""

    def __init__(
        self,
        read: Callable[[], Stats],
        send: Callable[[Event], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._send = send
        self._clock = clock
        self._sent = Stats()
        self._checked_at = -INTERVAL_S

    def report(self, *, is_idle: bool) -> None:
        """Send the statistics if they are due and have changed; called after each step."""
        now = self._clock()
        if not is_idle and now - self._checked_at < INTERVAL_S:
            return
        self._checked_at, stats = now, self._read()
        if stats != self._sent:
            self._sent = stats
            self._send(stats)
