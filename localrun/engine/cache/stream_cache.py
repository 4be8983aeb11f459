"""Stream cache: running sequences whose cells are in a stream of their own each.

A slot is the id of a stream. llama.cpp computes streams together only if their ids follow each
other, so gaps of the ids are closed after some steps. A sequence begins with a copy of the longest
known prefix: of another stream, or of the cached prefixes, which stay in the unified cells of a
`PrefixCache`. When it ends, its cells stay in the stream, so that no other waits for a copy. A
sequence that continues it takes the stream over; else the cells are added to the cached prefixes
when the slot is needed, when the streams are left, or while nothing runs. A stream is never copied
by `copy_cells`, which llama.cpp carries out at the next decode, so that states taken before are
wrong.

Cells of a stream keep their memory until the context is closed, so a stream counts with the most
cells that it ever had. Transposed values take it by pages of the system (`CellPages`):

    cached prefixes + most cells of each stream  <=  cells of the supply

A sequence can have its cells in the tree as well, pinned there since it came to a stream, so that
less is moved when it leaves. They are unpinned as soon as the room is needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from localrun.engine.cache.stream_memory import SINGLE, CellPages, StreamMemory
from localrun.engine.sequence import Sequence, slot_of
from localrun.prefixes import border_before, common_prefix_length

if TYPE_CHECKING:
    from localrun.engine.cache.kv_cache import SavedCells
    from localrun.engine.cache.prefix_cache import PrefixCache
    from localrun.engine.cache.radix import Node


MAX_ENDED = 4  # sequences in streams, before another one takes the slot of one of them
GAP_STEPS = 8  # closing a gap costs as much as a gap in some steps


class _EndedStream(NamedTuple):
    """A sequence that has ended, with the cells of its first tokens in its stream."""

    seq: Sequence
    length: int


class StreamCache:
    """Slots of running sequences in streams, with the cached prefixes of a `PrefixCache`."""

    def __init__(
        self,
        memory: StreamMemory,
        prefixes: PrefixCache,
        num_streams: int,
        pages: CellPages = SINGLE,
    ) -> None:
        self.memory = memory
        self._pages = pages
        self._pinned: dict[int, Node] = {}  # by slot
        self._prefixes = prefixes
        self._supply = prefixes.supply
        self._sequences: dict[int, Sequence] = {}  # by slot
        self._ended: dict[int, _EndedStream] = {}  # by slot, the first that ended first
        self._num_gap_steps = 0  # since ids followed each other
        self._most_cells = [0] * num_streams  # by slot
        self._num_most_cells = 0  # their sum
        self.lacks_room = False  # for a sequence, because of streams that are not in use

    @property
    def running(self) -> list[Sequence]:
        """Return the sequences with a slot, the latest last."""
        return list(self._sequences.values())

    @property
    def has_free_slot(self) -> bool:
        """Return whether one more sequence can run."""
        return len(self._sequences) < len(self._most_cells)

    @property
    def num_used_cells(self) -> int:
        """Return the number of cells that are not free, cached prefixes included."""
        own = sum(seq.num_computed for seq in self._sequences.values())
        return self._prefixes.num_used_cells + own + self.num_ended_tokens

    @property
    def num_covered_cells(self) -> int:
        """Return the number of cells with memory, cached prefixes included."""
        return self._prefixes.num_used_cells + self._num_most_cells

    def fits(self) -> bool:
        """Return whether the running sequences have room for the tokens that they have."""
        if self._num_committed() <= self._supply.num_reserved:
            return True
        self._unpin_all()
        return self._num_committed() <= self._supply.num_reserved

    def prepare_sharing(self, seq: Sequence, length: int) -> bool:
        """Return whether sharing the first ``length`` tokens saves computation."""
        _, num_common = self._closest(seq)
        return num_common < length and self._prefixes.prepare_sharing(seq, seq, length)

    def allocate(self, seq: Sequence, num_spare: int) -> bool:
        """Assign a slot and the longest known prefix, if tokens and spare cells fit."""
        source, num_common = self._closest(seq)
        continued = self._continued(seq, source, num_common)
        slots = [self._next_slot(), *self._ended] if continued is None else [continued]
        covered = self._pages.cover(len(seq.tokens) + num_spare)
        slot = next((slot for slot in slots if self._has_room_in(slot, covered)), None)
        if slot is None:
            self.lacks_room = True
            return False
        if continued is not None:
            self._start(seq, slot, self._ended.pop(slot).length)
            return True
        if self._store_ended(slot):
            source, num_common = self._closest(seq)
        length = self._prefixes.num_stored(seq)
        if source is not None and num_common >= length:
            self._restore(seq, slot, num_common, self.memory.borrow_sequence(source))
        else:
            data = self._prefixes.read_prefix(seq, length) if length else b""
            self._restore(seq, slot, length, data)
        return True

    def continued_by(self, seq: Sequence) -> int | None:
        """Return the slot of the ended sequence that a new one continues, None without one."""
        return self._continued(seq, *self._closest(seq))

    def _continued(self, seq: Sequence, slot: int | None, num_common: int) -> int | None:
        if slot is None or slot not in self._ended or num_common < self._ended[slot].length:
            return None
        return slot if num_common >= self._prefixes.num_stored(seq) else None

    def begin_pinned(self, seq: Sequence) -> None:
        """Assign a slot to a sequence of the unified cells, which stay in the tree."""
        length = seq.num_computed
        node, data = self._prefixes.pin(seq)
        self.begin(seq, length, data)
        self._pinned[slot_of(seq)] = node

    def begin(self, seq: Sequence, length: int, data: SavedCells) -> None:
        """Assign a slot, and restore ``length`` tokens from the cells of at least as many.

        No sequence may have ended here.
        """
        self._restore(seq, self._next_slot(), length, data)

    def _restore(self, seq: Sequence, slot: int, length: int, data: SavedCells) -> None:
        length = border_before(seq.tokens, length)
        if not (length and self.memory.restore_sequence(slot, data)):
            length = 0
        self.memory.remove_cells(slot, seq.position_at(length), -1)
        self._start(seq, slot, length)

    def _start(self, seq: Sequence, slot: int, length: int) -> None:
        seq.slot, seq.num_computed, seq.num_shared = slot, length, 0
        self._sequences[slot] = seq
        self._count_cells()

    def reserve(self, num_cells: int) -> bool:
        """Make room for a step, evicting cached prefixes; return False if there is too little."""
        self._prefixes.age_by(num_cells)
        self._count_cells()
        if self._prefixes.make_room(self._num_missing(num_cells)):
            return True
        self._unpin_all()
        if self._prefixes.make_room(self._num_missing(num_cells)):
            return True
        self.lacks_room = True
        if len(self._sequences) > 1:
            return False
        (seq,) = self._sequences.values()
        num_wanted = seq.num_computed + num_cells
        return num_wanted <= self._supply.grant(num_wanted)

    def truncate(self, seq: Sequence) -> None:
        """Free the sequence's cells behind ``num_computed``."""
        self.memory.remove_cells(slot_of(seq), seq.position_at(seq.num_computed), -1)

    def free(self, seq: Sequence) -> None:
        """Release the slot; the computed tokens stay in the stream, or become a cached prefix.

        A sequence that was preempted comes back soon, and media have large embeddings.
        """
        self._count_cells()
        slot, length = slot_of(seq), self._cut(seq)
        if seq.finish is None or seq.media is not None or not length:
            self.store(seq)
            return
        del self._sequences[slot]
        seq.slot, seq.num_computed, seq.num_shared = None, 0, 0
        self._ended[slot] = _EndedStream(_without_request(seq), length)

    def store(self, seq: Sequence) -> None:
        """Release the slot, and add the computed tokens to the cached prefixes.

        Without `free`, cells of streams that will be closed at once do not count.
        """
        slot, length = slot_of(seq), self._cut(seq)
        self._add_to_prefixes(slot, seq, length)
        self._release(seq)

    @property
    def num_ended(self) -> int:
        """Return how many sequences that ended are in their streams."""
        return len(self._ended)

    @property
    def num_ended_tokens(self) -> int:
        """Return the number of tokens of sequences that ended, in their streams."""
        return sum(stream.length for stream in self._ended.values())

    def has_room_to_store(self) -> bool:
        """Return whether the cells of the sequence that ended first fit beside all streams."""
        first = next(iter(self._ended.values()))
        return self.num_covered_cells + first.length <= self._supply.num_reserved

    def store_first_ended(self) -> None:
        """Add the cells of the sequence that ended first to the cached prefixes."""
        self._store_ended(next(iter(self._ended)))

    def store_ended(self) -> None:
        """Add the cells of all sequences that ended to the cached prefixes."""
        while self._ended:
            self.store_first_ended()

    def drop_ended(self) -> None:
        """Empty the streams of sequences that have ended."""
        for slot in self._ended:
            self._unpin(slot)
            self.memory.remove_cells(slot, 0, -1)
        self._ended.clear()

    def _store_ended(self, slot: int) -> bool:
        """Empty a stream if it is of a sequence that has ended; return whether it was."""
        if (stream := self._ended.pop(slot, None)) is None:
            return False
        self._add_to_prefixes(slot, stream.seq, stream.length)
        self.memory.remove_cells(slot, 0, -1)
        return True

    def _cut(self, seq: Sequence) -> int:
        """Remove drafts that were not verified, and a part of a medium; return the length."""
        length = border_before(seq.tokens, seq.num_computed)
        self.memory.remove_cells(slot_of(seq), seq.position_at(length), -1)
        return length

    def _add_to_prefixes(self, slot: int, seq: Sequence, length: int) -> None:
        """Add the cells of a stream to the cached prefixes, as far as these lack them."""
        start = min(length, self._prefixes.num_stored(seq))
        self._unpin(slot)
        if start < length:
            self.memory.remove_cells(slot, 0, seq.position_at(start))
            self._prefixes.store(seq, length, start, self.memory.borrow_sequence(slot))

    def withdraw(self, seq: Sequence) -> SavedCells:
        """Release the slot and return its cells, until the next call."""
        self.truncate(seq)
        data = self.memory.borrow_sequence(slot_of(seq))
        self._release(seq)
        return data

    def close_gaps(self) -> bool:
        """Move sequences into gaps of the slots that have been there for some steps.

        Return whether any was moved. A gap costs one more reading of the weights in each step, as
        much as moving 1,000 tokens on a machine whose memory is quick.
        """
        self._num_gap_steps = self._num_gap_steps + 1 if self._gap() is not None else 0
        if self._num_gap_steps <= GAP_STEPS:
            return False
        while (gap := self._gap()) is not None:
            self._store_ended(gap)
            slot = max(self._sequences)
            seq, length = self._sequences[slot], self._sequences[slot].num_computed
            pinned = self._pinned.pop(slot, None)
            self._restore(seq, gap, length, self.withdraw(seq))
            if pinned is not None:
                self._pinned[gap] = pinned
        self._num_gap_steps = 0
        return True

    def _gap(self) -> int | None:
        """Return the first slot between two that run which does not, or None."""
        if not self._sequences:
            return None
        slots = range(min(self._sequences), max(self._sequences))
        return next((slot for slot in slots if slot not in self._sequences), None)

    def _has_room_in(self, slot: int, num_cells: int) -> bool:
        """Return whether so many cells of a slot fit, if need be without those that are pinned.

        A sequence that runs alone always fits.
        """
        if not self._sequences:
            return True
        num_more = max(0, num_cells - self._most_cells[slot])
        wanted = self._num_committed() + num_more
        if wanted > self._supply.grow_to(wanted):
            self._unpin_all()
            wanted = self._num_committed() + num_more
        return wanted <= self._supply.grow_to(wanted)

    def _num_missing(self, num_cells: int) -> int:
        """Return how many cells a step of so many needs beyond those that have memory.

        Draft tokens do not count beside pages: a stream has room for them behind its last page.
        """
        if self._pages is SINGLE:
            return num_cells
        num_missing = 0
        for slot, seq in self._sequences.items():
            covered = self._pages.cover(min(len(seq.tokens), seq.num_computed + num_cells))
            num_missing += max(0, covered - self._most_cells[slot])
        return num_missing

    def _unpin_all(self) -> None:
        for slot in list(self._pinned):
            self._unpin(slot)

    def _unpin(self, slot: int) -> None:
        if (pinned := self._pinned.pop(slot, None)) is not None:
            self._prefixes.unpin(pinned)

    def _release(self, seq: Sequence) -> None:
        slot = slot_of(seq)
        self._unpin(slot)
        self.memory.remove_cells(slot, 0, -1)
        del self._sequences[slot]
        seq.slot, seq.num_computed, seq.num_shared = None, 0, 0

    def _next_slot(self) -> int:
        """Return the slot of the next sequence: between those that run, or next to them.

        It is an empty one, or that of an ended sequence if some are there, as cells of streams keep
        their memory.
        """
        if (gap := self._gap()) is not None:
            return gap
        num_slots = len(self._most_cells)
        taken = {*self._sequences, *self._ended}
        near = [max(self._sequences, default=-1) + 1, min(self._sequences, default=0) - 1]
        ordered: list[int] = [slot for slot in [*near, *range(num_slots)] if 0 <= slot < num_slots]
        empty = [slot for slot in ordered if slot not in taken]
        if empty and len(self._ended) < MAX_ENDED:
            return empty[0]
        return next(slot for slot in ordered if slot in self._ended)

    def num_known(self, tokens: list[int]) -> int:
        """Return how many first tokens a stream has computed, at most all."""
        known = [(seq, seq.num_computed) for seq in self._sequences.values()]
        return max(
            (
                min(length, common_prefix_length(tokens, seq.tokens))
                for seq, length in (*known, *self._ended.values())
            ),
            default=0,
        )

    def _closest(self, seq: Sequence) -> tuple[int | None, int]:
        """Return the slot with the longest prefix in common, and its length."""
        known = {slot: (other, other.num_computed) for slot, other in self._sequences.items()}
        lengths = {
            slot: _num_common(seq, other, length)
            for slot, (other, length) in (known | self._ended).items()
            if other.adapters == seq.adapters
        }
        slot = max(lengths, key=lambda slot: lengths[slot], default=None)
        return slot, 0 if slot is None else lengths[slot]

    def _num_committed(self) -> int:
        """Return the cells that streams have taken, or will take for the tokens they have."""
        num_cells = self._num_most_cells + self._prefixes.num_pinned_cells
        for slot, seq in self._sequences.items():
            num_cells += max(0, self._pages.cover(len(seq.tokens)) - self._most_cells[slot])
        return num_cells

    def _count_cells(self) -> None:
        for slot, seq in self._sequences.items():
            covered = self._pages.cover(seq.num_computed)
            if covered > self._most_cells[slot]:
                self._num_most_cells += covered - self._most_cells[slot]
                self._most_cells[slot] = covered
        self._prefixes.num_stream_cells = self._num_most_cells


def _without_request(seq: Sequence) -> Sequence:
    """Return the tokens of a sequence without what belongs to its request, such as a grammar."""
    return Sequence(
        request_id=seq.request_id,
        tokens=seq.tokens,
        max_tokens=seq.max_tokens,
        adapters=seq.adapters,
    )


def _num_common(seq: Sequence, other: Sequence, length: int) -> int:
    """Return how many first tokens another one has computed for a sequence, at most ``length``."""
    num_equal = common_prefix_length(seq.tokens, other.tokens)
    return border_before(seq.tokens, min(seq.num_cacheable, length, num_equal))
