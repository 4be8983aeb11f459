"""Memory of streams: their cells by stream, and how the system gives memory for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from localrun.engine.cache.kv_cache import SavedCells


class StreamMemory(Protocol):
    """Cells by stream; data has the format of `KvMemory`."""

    def remove_cells(self, seq_id: int, start: int, end: int) -> None:
        """Release cells of a stream."""

    def borrow_sequence(self, seq_id: int) -> SavedCells:
        """Return the cells of a stream, valid until the next call."""

    def restore_sequence(self, seq_id: int, data: SavedCells) -> bool:
        """Restore saved data into an empty stream; return False on failure."""

    def close(self) -> None:
        """Free all streams."""


@dataclass(frozen=True, slots=True)
class CellPages:
    """Cells of a stream whose memory the system gives together."""

    num_cells: int  # of a page
    max_cells: int  # of a stream

    def cover(self, num_cells: int) -> int:
        """Return how many cells have memory if so many are used."""
        if self.num_cells == 1:
            return num_cells
        pages = -(-num_cells // self.num_cells)
        return max(num_cells, min(pages * self.num_cells, self.max_cells))


SINGLE = CellPages(1, 1)
