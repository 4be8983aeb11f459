"""Interfaces of the KV cache: what the scheduler uses, and what llama.cpp's memory offers.

    Scheduler, DraftModel, PromptSaver
        |
    KvCache     slots, cells and cached prefixes of all sequences; implementations:
        |       PrefixCache    full attention: any prefix is shared, at cell granularity
        |       SwitchingCache a PrefixCache, or a StreamCache while sequences share little
        |       StateCache     recurrent and hybrid models, sliding windows: whole states
        |                      and checkpoints
    KvMemory    cells and states by llama.cpp's sequence id: NativeContext

A slot is the sequence id of a running sequence. Positions are half-open, and an end of -1
means "up to the last one". Only the engine's thread calls these methods.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from localrun.engine.cache.cell_supply import CellSupply
    from localrun.engine.sequence import Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryKind:
    """Parts of a model's memory; only cells of full attention can be shared and cut.

    A window forgets the cells behind it, a state everything but its last position.
    """

    has_cells: bool = True  # one for each token
    has_window: bool = False
    has_state: bool = False

    @property
    def is_plain(self) -> bool:
        """Return whether all of it is cells of full attention, so that any prefix is reusable."""
        return not self.has_window and not self.has_state


SavedCells = bytes | memoryview
FULL = MemoryKind()
WINDOW = MemoryKind(has_window=True)
RECURRENT = MemoryKind(has_cells=False, has_state=True)
HYBRID = MemoryKind(has_state=True)


class CellLayout(StrEnum):
    """Where the cells of running sequences are."""

    UNIFIED = "unified"  # together, so that prefixes are shared and all sequences read all cells
    STREAMS = "streams"  # each sequence's for itself
    TRANSPOSED = "transposed"  # streams with values transposed, for long sequences that decode

    @property
    def is_unified(self) -> bool:
        """Return whether all sequences have their cells together."""
        return self is CellLayout.UNIFIED


class KvMemory(Protocol):
    """Cells and states by sequence id; a cell that no sequence id holds is free."""

    def clear(self) -> None:
        """Release all cells and return their memory to the system."""

    def copy_cells(self, source: int, target: int, start: int, end: int) -> None:
        """Add ``target`` to the holders of the cells of ``source``; no data moves."""

    def remove_cells(self, seq_id: int, start: int, end: int) -> None:
        """Release cells of a sequence id."""

    def save_sequence(self, seq_id: int) -> bytes:
        """Return the cells and the state of a sequence id; empty if llama.cpp cannot."""

    def borrow_sequence(self, seq_id: int) -> SavedCells:
        """Return what `save_sequence` does, valid until the next call."""

    def restore_sequence(self, seq_id: int, data: SavedCells) -> bool:
        """Restore saved data into an empty sequence id; return False on failure."""

    def save_state(self, slot: int) -> memoryview:
        """Return a copy of the part of a slot's memory that cannot be cut (PARTIAL_ONLY)."""

    def restore_state(self, slot: int, data: memoryview) -> bool:
        """Replace that part of a slot's memory by a saved copy; return False on failure."""


class KvCache(Protocol):
    """Slots and cells of running sequences, and the cached prefixes that they begin from."""

    exports_whole_prompts: bool  # `export_run` and `import_run` take start 0 only
    supply: CellSupply  # the cells that may be used

    @property
    def layout(self) -> CellLayout:
        """Return where the cells of running sequences are."""

    @property
    def num_switches(self) -> int:
        """Return how often the layout has changed."""

    @property
    def has_free_slot(self) -> bool:
        """Return whether one more sequence can run."""

    @property
    def num_used_cells(self) -> int:
        """Return the number of cells that are not free, cached prefixes included."""

    def prepare_sharing(self, leader: Sequence, seq: Sequence, length: int) -> bool:
        """Prepare ``seq`` to share the first ``length`` tokens once the leader has computed them.

        Return False if that saves no computation.
        """

    def allocate(self, seq: Sequence, num_spare: int) -> bool:
        """Assign a slot and the longest cached prefix; set ``slot`` and ``num_computed``.

        Return False, with nothing changed, if the sequence's tokens and ``num_spare`` more
        do not fit. A sequence that runs alone always fits.
        """

    def adapt(self) -> None:
        """Change the layout if another is faster; called before the chunks of a step are selected.

        Slots may change, and ``num_computed`` may shrink.
        """

    def chunk_end(self, seq: Sequence) -> int:
        """Return the position where the next chunk of the sequence must end at the latest."""

    def reserve(self, num_cells: int) -> bool:
        """Free cells for a step, oldest cached prefixes first; return False if too few remain.

        A sequence that runs alone gets all reserved cells. Called once a step.
        """

    def publish(self, seq: Sequence) -> None:
        """Make the computed part of a prompt available to other sequences."""

    def truncate(self, seq: Sequence) -> None:
        """Free the sequence's cells behind ``num_computed``."""

    def recover(self, seq: Sequence) -> None:
        """Make memory and ``num_computed`` consistent after an aborted step."""

    def free(self, seq: Sequence) -> None:
        """Release the slot; the computed tokens stay as a cached prefix."""

    def clear(self) -> None:
        """Drop all cached prefixes that no sequence uses."""

    def compact(self) -> bool:
        """Shrink the range of cells in use by one piece; return False if nothing is left to do.

        Called while no sequence runs.
        """

    def cached_prompts(self) -> list[list[int]]:
        """Return the tokens of the longest cached prefixes without adapters, oldest use first."""

    def num_cached_tokens(self, tokens: list[int]) -> int:
        """Return the length of the cached prefix of ``tokens``, without adapters."""

    def num_known_tokens(self, tokens: list[int]) -> int:
        """Return how many first tokens are computed, cached or of a running sequence."""

    def export_run(self, tokens: list[int], start: int) -> bytes | None:
        """Return the memory of ``tokens[start:]``, or None if it is not cached.

        No running sequence may share it.
        """

    def import_run(self, tokens: list[int], start: int, data: bytes) -> bool:
        """Add exported memory as a cached prefix.

        Return False if there is no room, or if ``tokens[:start]`` is not cached.
        """
