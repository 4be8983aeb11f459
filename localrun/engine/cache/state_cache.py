"""Slots with states, for models of whose memory only a part, or nothing, can be cut.

The memory of recurrent and hybrid models, and windowed attention, has no prefix:
llama.cpp "copies" one without complaint and computes nonsense from it. What is exact:

- to go on from where a sequence ended, in its slot, as the next turn of a chat does;
- to put a copy of the state back that was made while the prompt was computed
  (`Checkpoints`). Where there are cells of full attention besides, the slot needs those
  up to there: it has them, or shares them with the slot that has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from localrun.engine.cache.checkpoint_policy import CheckpointPolicy
from localrun.engine.cache.checkpoints import LEAST_BUDGET_BYTES, Checkpoint, Checkpoints
from localrun.engine.cache.memory_kind import HYBRID, MemoryKind
from localrun.engine.cache.prefix_cache import Cells, slot_of
from localrun.engine.cache.shared_cells import SharedCells
from localrun.engine.cache.state_starts import Computed, Start, Starts

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.engine.llama.lora_adapters import AdapterSet
    from localrun.engine.sequence import Sequence


class StateCells(Cells, Protocol):
    """What such a cache needs besides."""

    def save_part(self, slot: int) -> memoryview:
        """Return a copy of what cannot be cut."""

    def restore_part(self, slot: int, data: memoryview) -> bool:
        """Put it in the place of what the slot has; False when it cannot."""


class StateCache:
    """Slots of running sequences, those with states that ended ones left, and copies."""

    def __init__(
        self,
        cells: StateCells,
        *,
        num_slots: int,
        num_cells: int,
        memory: MemoryKind = HYBRID,
        ends: frozenset[int] = frozenset(),
        budget_bytes: int = LEAST_BUDGET_BYTES,
    ) -> None:
        """Begin with empty slots; ``ends`` are the tokens that end a message."""
        self._cells = cells
        self._num_cells = num_cells
        self._memory = memory
        self._ends = ends
        self.checkpoints = Checkpoints(budget_bytes)
        self._open: dict[int, Sequence] = {}  # by slot
        self._kept: dict[int, Computed] = {}  # by slot, longest unused first
        self._places: dict[int, CheckpointPolicy] = {}  # by slot: where copies will be made
        self._overlaps = SharedCells()
        self._free_slots = list(range(num_slots - 1, -1, -1))

    @property
    def has_slot(self) -> bool:
        """Return whether one more sequence can run."""
        return bool(self._free_slots or self._kept)

    @property
    def num_used(self) -> int:
        """Return the number of cells that are not free.

        Those of a window are never shared, so there each slot counts as if nothing was.
        """
        lengths = {slot: len(kept.tokens) for slot, kept in self._kept.items()}
        lengths |= {slot: seq.num_computed for slot, seq in self._open.items()}
        return self._overlaps.num_distinct(lengths)

    def lead(self, leader: Sequence, seq: Sequence, length: int) -> bool:
        """Have a copy made when the leader has computed the first ``length`` tokens.

        False when that spares this sequence nothing.
        """
        if self._best(seq.tokens, seq.adapters).length >= length:
            return False
        self._places[slot_of(leader)].add(length)
        return True

    def open(self, seq: Sequence, spare: int) -> bool:
        """Give a slot, with a state that the sequence goes on from if there is one.

        False, and nothing changed, when its tokens and ``spare`` cells do not fit.
        """
        start = self._best(seq.tokens[: seq.most_shared + 1], seq.adapters)
        missing = len(seq.tokens) + spare - self._num_shared(start)
        if self._open and self._promised() + missing > self._num_cells:
            return False
        seq.slot = self._slot_for(start)
        seq.num_computed = start.length
        if start.checkpoint is not None and not self._bring(seq.slot, start):
            seq.num_computed = 0
        self._open[seq.slot] = seq
        self._plan(seq)
        return True

    def next_stop(self, seq: Sequence) -> int:
        """Return the position where a row of the sequence has to end."""
        return self._places[slot_of(seq)].next or len(seq.tokens)

    def publish(self, seq: Sequence) -> None:
        """Make a copy where one is wanted."""
        if not self._places[slot_of(seq)].reach(seq.num_computed):
            return
        checkpoint = Checkpoint(tuple(seq.tokens[: seq.num_computed]), seq.adapters)
        if self.checkpoints.use(checkpoint) is None:
            self.checkpoints.add(checkpoint, self._cells.save_part(slot_of(seq)))

    def rewind(self, seq: Sequence) -> None:
        """Go back to the last copy: a step was broken off, which leaves a state anywhere."""
        if not self._memory.has_state:
            self.publish(seq)  # cells that came before the end are there
            return
        slot, known = slot_of(seq), seq.tokens[: seq.num_computed]
        checkpoint = next(self.checkpoints.find(known, seq.adapters), None)
        seq.num_computed = checkpoint.length if checkpoint else 0
        if not self._bring(slot, Start(seq.num_computed, slot, checkpoint)):
            seq.num_computed = 0
        coming = self._places[slot].coming
        self._plan(seq)
        for place in coming:
            self._places[slot].add(place)  # others may wait for it

    def close(self, seq: Sequence) -> None:
        """Keep the state in the slot, and let others have the slot when they need it."""
        slot = slot_of(seq)
        del self._open[slot], self._places[slot]
        if seq.num_computed:
            self._kept[slot] = Computed(seq.tokens[: seq.num_computed], seq.adapters)
        else:
            self._empty(slot)
            self._free_slots.append(slot)
        seq.slot, seq.num_computed = None, 0

    def reserve(self, count: int) -> bool:
        """Free ``count`` cells at the cost of kept states, oldest first; False: too few."""
        while self.num_used + count > self._num_cells:
            if not self._kept:
                return False
            self._drop_oldest()
        return True

    @property
    def kept(self) -> list[tuple[int, list[int]]]:
        """Return the slots and tokens of kept states without adapters, longest unused first."""
        return [(slot, kept.tokens) for slot, kept in self._kept.items() if not kept.adapters]

    def num_cached(self, tokens: list[int]) -> int:
        """Return how many first tokens a sequence without adapters would not compute."""
        return self._best([*tokens, 0], ()).length  # something follows

    def graft(self, tokens: list[int], load: Callable[[int], bool]) -> bool:
        """Keep a state from elsewhere; ``load`` puts it into an empty slot.

        False when it cannot, or there is no room.
        """
        if not self.has_slot or not self.reserve(len(tokens)):
            return False
        slot = self._empty_slot()
        if not load(slot):
            self._empty(slot)
            self._free_slots.append(slot)
            return False
        self._kept[slot] = Computed(tokens, ())
        return True

    def cut(self, seq: Sequence) -> None:
        """Refuse: a state cannot go back, so nothing is guessed for such models."""
        raise ValueError(f"request {seq.request_id} has a state that cannot be cut")

    def clear(self) -> None:
        """Forget all kept states."""
        while self._kept:
            self._drop_oldest()
        self.checkpoints.clear()

    def _plan(self, seq: Sequence) -> None:
        """Settle where copies of the sequence are made."""
        self._places[slot_of(seq)] = CheckpointPolicy(seq.tokens, seq.num_computed, self._ends)

    def _best(self, tokens: list[int], adapters: AdapterSet) -> Start:
        """Return the longest state that a sequence can go on from."""
        running = {
            slot: Computed(seq.tokens[: seq.num_computed], seq.adapters)
            for slot, seq in self._open.items()
        }
        starts = Starts(
            kept=self._kept,
            running=running,
            checkpoints=self.checkpoints,
            has_cells=self._memory.has_cells,
        )
        return starts.best(Computed(tokens, adapters))

    def _num_shared(self, start: Start) -> int:
        """Return how many cells of running sequences a new one would share."""
        if start.slot is None or self._memory.has_window:
            return 0
        if start.slot in self._open:
            return start.length
        common = (self._overlaps.between(start.slot, other) for other in self._open)
        return min(start.length, max(common, default=0))

    def _promised(self) -> int:
        """Return the cells that running sequences use, or will for the tokens that they have."""
        lengths = {slot: len(seq.tokens) for slot, seq in self._open.items()}
        return self._overlaps.num_distinct(lengths)

    def _slot_for(self, start: Start) -> int:
        """Return the slot in which a sequence runs that begins so.

        The kept state that has the cells stays as it is, unless that costs another more.
        """
        holder = start.slot
        if holder not in self._kept:
            return self._empty_slot()
        if start.checkpoint is not None and self._is_cheaper_forked(holder, start.length):
            return self._empty_slot()
        del self._kept[holder]
        return holder

    def _is_cheaper_forked(self, holder: int, length: int) -> bool:
        if self._free_slots:
            return True
        oldest, kept = next(iter(self._kept.items()))
        return oldest != holder and len(kept.tokens) < len(self._kept[holder].tokens) - length

    def _bring(self, slot: int, start: Start) -> bool:
        """Make a slot what a copy says; False and an empty slot where that cannot be."""
        data = self.checkpoints.use(start.checkpoint) if start.checkpoint else None
        if start.slot is not None and start.slot != slot:
            self._cells.copy(start.slot, slot, 0, start.length)
            if not self._memory.has_window:
                self._overlaps.fork(start.slot, slot, start.length)
        if data is None or not self._cells.restore_part(slot, data):
            self._empty(slot)
            return False
        self._cells.remove(slot, start.length, -1)
        self._overlaps.cut(slot, start.length)
        return True

    def _empty(self, slot: int) -> None:
        self._cells.remove(slot, 0, -1)
        self._overlaps.cut(slot, 0)

    def _empty_slot(self) -> int:
        if not self._free_slots:
            self._drop_oldest()
        return self._free_slots.pop()

    def _drop_oldest(self) -> None:
        slot = next(iter(self._kept))
        del self._kept[slot]
        self._empty(slot)
        self._free_slots.append(slot)
