"""Whole states kept in their slots, for models whose prefixes cannot be copied.

The memory of recurrent and hybrid models, and windowed attention, has no prefix:
llama.cpp "copies" one without complaint and computes nonsense from it. What is
exact is to go on from where a sequence ended. So an ended sequence stays in its
slot, and a new one takes the slot over when it begins with all tokens of it, as
the next turn of a chat does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.engine.cache import slot_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.engine.adapters import AdapterSet
    from localrun.engine.cache import Cells
    from localrun.engine.sequence import Sequence


@dataclass(frozen=True, slots=True)
class _Kept:
    """What a state was computed from."""

    tokens: list[int]
    adapters: AdapterSet

    def is_beginning_of(self, seq: Sequence) -> bool:
        """Tell whether a sequence can go on from here."""
        length = len(self.tokens)
        return (
            length < len(seq.tokens)
            and self.adapters == seq.adapters
            and self.tokens == seq.tokens[:length]
        )


class StateCache:
    """Slots of running sequences, and those with states that ended ones left."""

    def __init__(self, cells: Cells, *, num_slots: int, num_cells: int) -> None:
        self._cells = cells
        self._num_cells = num_cells
        self._open: dict[int, Sequence] = {}  # by slot
        self._kept: dict[int, _Kept] = {}  # by slot, longest unused first
        self._free_slots = list(range(num_slots - 1, -1, -1))

    @property
    def has_slot(self) -> bool:
        """Tell whether one more sequence can run."""
        return bool(self._free_slots or self._kept)

    @property
    def num_used(self) -> int:
        """Return the number of cells that are not free."""
        kept = sum(len(kept.tokens) for kept in self._kept.values())
        return kept + sum(seq.num_computed for seq in self._open.values())

    def sharable(self, seq: Sequence, length: int) -> bool:  # noqa: ARG002 - nothing is
        """Tell whether the first ``length`` tokens, once computed, spare this sequence work."""
        return False

    def open(self, seq: Sequence, spare: int) -> bool:
        """Give a slot, with a state that the sequence goes on from if there is one.

        False, and nothing changed, when its tokens and ``spare`` cells do not fit.
        """
        promised = sum(len(other.tokens) for other in self._open.values())
        if self._open and promised + len(seq.tokens) + spare > self._num_cells:
            return False
        slot = self._matching(seq)
        if slot is None:
            slot = self._empty_slot()
        else:
            seq.num_computed = len(self._kept.pop(slot).tokens)
        seq.slot = slot
        self._open[slot] = seq
        return True

    def publish(self, seq: Sequence) -> None:
        """Do nothing: a running state cannot be shared."""

    def close(self, seq: Sequence) -> None:
        """Keep the state in the slot, and let others have the slot when they need it."""
        slot = slot_of(seq)
        del self._open[slot]
        if seq.num_computed:
            self._kept[slot] = _Kept(seq.tokens[: seq.num_computed], seq.adapters)
        else:
            self._cells.remove(slot, 0, -1)
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

    def graft(self, tokens: list[int], load: Callable[[int], bool]) -> bool:
        """Keep a state from elsewhere; ``load`` puts it into an empty slot.

        False when it cannot, or there is no room.
        """
        if not self.has_slot or not self.reserve(len(tokens)):
            return False
        slot = self._empty_slot()
        if not load(slot):
            self._cells.remove(slot, 0, -1)
            self._free_slots.append(slot)
            return False
        self._kept[slot] = _Kept(tokens, ())
        return True

    def cut(self, seq: Sequence) -> None:
        """Refuse: a state cannot go back, so nothing is guessed for such models."""
        raise ValueError(f"request {seq.request_id} has a state that cannot be cut")

    def clear(self) -> None:
        """Forget all kept states."""
        while self._kept:
            self._drop_oldest()

    def _matching(self, seq: Sequence) -> int | None:
        """Return the slot with the longest state that a sequence goes on from."""
        slots = [slot for slot, kept in self._kept.items() if kept.is_beginning_of(seq)]
        return max(slots, key=lambda slot: len(self._kept[slot].tokens), default=None)

    def _empty_slot(self) -> int:
        if not self._free_slots:
            self._drop_oldest()
        return self._free_slots.pop()

    def _drop_oldest(self) -> None:
        slot = next(iter(self._kept))
        del self._kept[slot]
        self._cells.remove(slot, 0, -1)
        self._free_slots.append(slot)
