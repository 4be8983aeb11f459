"""What the memory of a model consists of, and so what can be done with parts of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryKind:
    """The parts of it; several sequences can hold a cell of full attention, and nothing else.

    A window forgets cells behind it, a state all but its last position.
    """

    has_cells: bool = True  # one for each token
    has_window: bool = False
    has_state: bool = False

    @property
    def is_plain(self) -> bool:
        """Return whether it is cells of full attention alone: any prefix can be had back."""
        return not self.has_window and not self.has_state


FULL = MemoryKind()
WINDOW = MemoryKind(has_window=True)
RECURRENT = MemoryKind(has_cells=False, has_state=True)
HYBRID = MemoryKind(has_state=True)
