"""Count what an engine holds: `Count`. A law that can be checked from outside the process.

Law: without open requests and cached prefixes llama.cpp's cache is empty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.runner.messages import Counts

if TYPE_CHECKING:
    from localrun.engine.cache.prefix_cache import PrefixCache
    from localrun.engine.cache.state_cache import StateCache
    from localrun.engine.context import LlamaContext
    from localrun.runner.messages import Count


class Census:
    """Counts for one loaded model; the engine's thread asks."""

    def __init__(self, cache: PrefixCache | StateCache, context: LlamaContext) -> None:
        self._cache = cache
        self._context = context

    def take(self, request: Count, num_open: int) -> Counts:
        """Return the numbers."""
        if request.forget:
            self._cache.clear()
        return Counts(
            request_id=request.request_id,
            num_open=num_open,
            num_cells=self._cache.num_used,
            num_holders=self._context.num_holders,
            num_samplers=self._context.num_samplers,
        )
