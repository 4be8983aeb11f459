"""Cell supply: how many of the reserved KV cache cells may be used now.

The plan of a model reserves cells for all sequences, but a cell takes memory only when it is
written (`lazy_buffers`). A cache asks the supply before it uses more cells than before, and the
supply grows if the machine has the memory:

    cells in use  <=  num_cells  <=  num_reserved

If other programs have taken the memory meanwhile, the supply stays as it is, and the cache evicts,
queues and preempts as if it were full. `num_cells` shrinks only when memory has been returned.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

STEP_CELLS = 1024  # at the start, and by which the supply grows; asking costs 0.2 ms
FREE_FACTOR = 2  # a growth must leave as much free memory as it takes
RETRY_S = 1.0  # between a refused growth and the next attempt
_log = logging.getLogger(__name__)


class CellSupply:
    """The cells of one KV cache; without ``cell_bytes`` all of them have memory from the start."""

    def __init__(
        self,
        num_reserved: int,
        *,
        cell_bytes: int = 0,
        free_bytes: Callable[[], int] = lambda: 0,
        clock: Callable[[], float] = time.monotonic,
        step_cells: int = STEP_CELLS,
    ) -> None:
        """``free_bytes`` returns the memory that the process can take."""
        self.num_reserved = num_reserved
        self.num_cells = min(step_cells, num_reserved) if cell_bytes else num_reserved
        self.lacks_memory = False  # the last growth was refused
        self._cell_bytes = cell_bytes
        self._free_bytes = free_bytes
        self._clock = clock
        self._step_cells = step_cells
        self._refused_at = 0.0

    def grow_to(self, num_wanted: int) -> int:
        """Return the number of usable cells, after growing towards ``num_wanted`` if necessary."""
        if num_wanted <= self.num_cells or self.num_cells == self.num_reserved:
            return self.num_cells
        if self.lacks_memory and self._clock() - self._refused_at < RETRY_S:
            return self.num_cells
        target = self._rounded(num_wanted)
        new_bytes = (target - self.num_cells) * self._cell_bytes
        if self._free_bytes() < FREE_FACTOR * new_bytes:
            self._refuse()
        else:
            self.lacks_memory, self.num_cells = False, target
        return self.num_cells

    def grant(self, num_wanted: int) -> int:
        """Return the number of usable cells, after growing without regard to free memory."""
        self.num_cells = max(self.num_cells, self._rounded(num_wanted))
        return self.num_cells

    def shrink_to(self, num_used: int) -> None:
        """Forget the memory of all but so many cells, which has been returned to the system."""
        if self._cell_bytes:
            self.num_cells = self._rounded(max(1, num_used))

    def _rounded(self, num_cells: int) -> int:
        return min(self.num_reserved, -(-num_cells // self._step_cells) * self._step_cells)

    def _refuse(self) -> None:
        if not self.lacks_memory:
            _log.warning(
                "the KV cache stays at %d of %d cells: too little memory is free",
                self.num_cells,
                self.num_reserved,
            )
        self.lacks_memory, self._refused_at = True, self._clock()
