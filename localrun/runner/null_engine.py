"""Engine of a model without text generation, such as an embedding model: the null object.

`NullEngine` stands for engine, context, scheduler and cache at once: it has no work, holds no
cells and frees nothing. Requests to generate are refused before they reach the engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.engine.cache.cell_supply import CellSupply
from localrun.engine.cache.kv_cache import CellLayout

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.engine.engine import StepOutput
    from localrun.engine.media.chunk import MediaChunk
    from localrun.engine.sequence import Sequence


class NullEngine:
    """Engine, context, scheduler and cache without any work or memory."""

    has_work = False
    only_decodes = True
    adapter_bytes = 0
    running = ()
    num_waiting = 0
    num_used_cells = 0
    layout = CellLayout.UNIFIED
    num_switches = 0
    supply = CellSupply(0)
    num_holders = 0
    num_samplers = 0

    def submit(self, seq: Sequence) -> None:
        """Raise ValueError: requests to generate are refused before."""
        raise ValueError(f"request {seq.request_id} needs an engine")

    def cancel(self, _request_id: int) -> None:
        """Return None: no sequence is open."""

    def next_medium(self) -> None:
        """Return None: no sequence has media."""

    def needs(self, _chunk: MediaChunk) -> bool:
        """Return False: no sequence has media."""
        return False

    def serves_mostly(self, _request_ids: set[int]) -> bool:
        """Return False: no step runs."""
        return False

    def step(self, _may_repeat: Callable[[], bool]) -> list[StepOutput]:
        """Return no outputs."""
        return []

    def abort(self) -> None:
        """Do nothing: no decode runs."""

    def clear_abort(self) -> None:
        """Do nothing: no abort flag exists."""

    def clear(self) -> None:
        """Do nothing: no prefix is cached."""

    def close(self) -> None:
        """Do nothing: no memory is held."""
