"""A KV cache as llama.cpp's unified one, in which every cell knows what it was computed from.

Memory that is not plain has a state beside the cells. As in llama.cpp it cannot be cut, a copy
of some cells gives the target a state from elsewhere, and a step that is broken off spoils it.
"""

from __future__ import annotations

import json
from ast import literal_eval
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from localrun.engine.cache.kv_cache import FULL, MemoryKind
from localrun.engine.engine import AbortedError, OutOfCellsError
from localrun.engine.scheduler import ScheduledChunk

if TYPE_CHECKING:
    from localrun.engine.cache.stream_memory import StreamMemory
    from localrun.engine.llama.lora_adapters import AdapterFile, AdapterSet
    from localrun.engine.sequence import Sequence


NUM_STREAMS = 4


@dataclass(eq=False)
class Cell:
    """The key and value of one position; ``prefix`` is all that they depend on."""

    prefix: int


@dataclass
class FakeBackend:
    """Samples, for every chunk, the position that it was sampled at.

    A token drawn too early, too late or twice is visible in the output; a cell that
    was computed from other tokens than those of the sequence fails at once.
    """

    num_cells: int
    memory: MemoryKind = FULL
    holders: dict[int, dict[int, Cell]] = field(default_factory=dict)  # cells by position
    states: dict[int, tuple[int, int]] = field(default_factory=dict)  # (position, prefix)
    fails: bool = False  # to restore a state
    steps: list[list[tuple[int, int]]] = field(default_factory=list)  # (request id, tokens)
    retired: list[int] = field(default_factory=list)
    aborts: set[int] = field(default_factory=set)  # numbers of the calls to break off
    refusals: set[int] = field(default_factory=set)  # numbers of those for which nothing is free
    num_calls: int = 0
    streams: FakeStreams | None = None
    stream_cells: int = 0
    has_memory: bool = True  # for a context with streams
    held: Counter[AdapterFile] = field(default_factory=Counter)  # adapters by their users
    worn: list[AdapterSet] = field(default_factory=list)  # the set of each step

    @property
    def num_used_cells(self) -> int:
        streams = self.streams.holders.values() if self.streams else ()
        return self.num_unified_cells + sum(map(len, streams))

    @property
    def num_unified_cells(self) -> int:
        return len({id(cell) for held in self.holders.values() for cell in held.values()})

    @property
    def running(self) -> dict[int, dict[int, Cell]]:
        """Return the cells of running sequences, by slot."""
        return self.streams.holders if self.streams else self.holders

    def forward(self, chunks: list[ScheduledChunk]) -> list[list[int]]:
        for chunk in chunks:
            self._check(chunk)
        (adapters,) = {chunk.seq.adapters for chunk in chunks}
        assert all(self.held[file] for file, _ in adapters)
        self.num_calls += 1
        if self.num_calls in self.aborts:
            self._break_off(chunks)
            raise AbortedError
        if self.num_calls in self.refusals:
            raise OutOfCellsError
        if self.num_used_cells + sum(chunk.num_cells for chunk in chunks) > self.num_cells:
            raise OutOfCellsError
        for chunk in chunks:
            self._compute(chunk)
        self.worn.append(adapters)
        self.steps.append([(chunk.seq.request_id, chunk.num_cells) for chunk in chunks])
        return [_draw(chunk) for chunk in chunks if chunk.is_last]

    @property
    def num_streams(self) -> int:
        return NUM_STREAMS

    def open_streams(
        self,
        num_cells: int,
        num_copied: int,
        *,
        is_transposed: bool,  # noqa: ARG002
    ) -> FakeStreams | None:
        assert num_copied > 0
        assert num_cells <= self.num_cells
        if not self.has_memory:
            return None
        self.streams = FakeStreams(self)
        return self.streams

    def close_streams(self, memory: StreamMemory) -> None:
        memory.close()
        if memory is self.streams:
            self.streams = None

    def drop_copies(self) -> None:
        """Nothing is copied."""

    def clear(self) -> None:
        self.holders.clear()

    def copy_cells(self, source: int, target: int, start: int, end: int) -> None:
        assert source != target
        self._copy_state(source, target)
        held, given = self.holders[source], self.holders.setdefault(target, {})
        for position in range(start, end):
            assert position not in given
            given[position] = held[position]

    def save_state(self, slot: int) -> memoryview:
        return memoryview(repr(self.states[slot]).encode())

    def restore_state(self, slot: int, data: memoryview) -> bool:
        if self.fails:
            return False
        self.states[slot] = literal_eval(bytes(data).decode())
        if not self.memory.has_cells:  # there are none in truth: these serve to count
            length = self.states[slot][0]
            self.holders[slot] = {position: Cell(0) for position in range(length)}
        return True

    def remove_cells(self, holder: int, start: int, end: int) -> None:
        held = self.holders.get(holder, {})
        if (start, end) == (0, -1):
            self.states.pop(holder, None)
        elif not self.memory.is_plain:
            assert self.states[holder][0] <= start  # others refuse a part
        for position in [p for p in held if start <= p and (p < end or end < 0)]:
            del held[position]
        if not held:
            self.holders.pop(holder, None)

    def borrow_sequence(self, seq_id: int) -> bytes:
        return self.save_sequence(seq_id)

    def save_sequence(self, slot: int) -> bytes:
        return _saved(self.holders.get(slot, {}))

    def restore_sequence(self, slot: int, data: bytes | memoryview) -> bool:
        assert slot not in self.holders
        self.holders[slot] = _restored(data)
        assert self.num_unified_cells <= self.num_cells
        return True

    def prepare(self, seq: Sequence) -> None:
        self.held.update(file for file, _ in seq.adapters)

    def retire(self, seq: Sequence) -> None:
        self.held.subtract(file for file, _ in seq.adapters)
        self.retired.append(seq.request_id)

    def _check(self, chunk: ScheduledChunk) -> None:
        assert chunk.num_tokens > 0
        assert chunk.is_last or not chunk.drafts
        held = self.running.get(_slot(chunk.seq), {})
        assert sorted(held) == list(range(chunk.seq.num_computed))
        known = prefixes(chunk.seq)[: len(held)]
        if self.memory.has_cells:
            assert [held[p].prefix for p in sorted(held)] == known
        if not self.memory.is_plain and known:
            assert self.states[_slot(chunk.seq)] == (len(known), known[-1])

    def _break_off(self, chunks: list[ScheduledChunk]) -> None:
        """Leave states half-way, and the cells of a prompt up to its last one."""
        if self.memory.has_state:
            self.states.update((_slot(chunk.seq), (-1, 0)) for chunk in chunks)
            return
        part = ScheduledChunk(chunks[-1].seq, chunks[-1].num_tokens - chunks[-1].is_last)
        if part.num_tokens and self.num_used_cells + part.num_tokens <= self.num_cells:
            self._compute(part)
            part.seq.num_computed += part.num_tokens

    def _compute(self, chunk: ScheduledChunk) -> None:
        held = self.running.setdefault(_slot(chunk.seq), {})
        known = prefixes(chunk.seq, chunk.drafts)
        assert not self.streams or chunk.seq.num_computed + chunk.num_tokens <= self.stream_cells
        for position in range(chunk.seq.num_computed, chunk.seq.num_computed + chunk.num_cells):
            held[position] = Cell(known[position])
        if not self.memory.is_plain:
            length = chunk.seq.num_computed + chunk.num_cells
            self.states[_slot(chunk.seq)] = (length, known[length - 1])

    def _copy_state(self, source: int, target: int) -> None:
        if not self.memory.is_plain:
            self.states[target] = self.states[source]


@dataclass
class FakeStreams:
    """Cells by stream; none of them is shared."""

    backend: FakeBackend
    holders: dict[int, dict[int, Cell]] = field(default_factory=dict)  # cells by position
    is_open: bool = True

    def remove_cells(self, seq_id: int, start: int, end: int) -> None:
        assert self.is_open
        held = self.holders.get(seq_id, {})
        for position in [p for p in held if start <= p and (p < end or end < 0)]:
            del held[position]
        if not held:
            self.holders.pop(seq_id, None)

    def borrow_sequence(self, seq_id: int) -> bytes:
        return self.save_sequence(seq_id)

    def save_sequence(self, seq_id: int) -> bytes:
        assert self.is_open
        return _saved(self.holders.get(seq_id, {}))

    def restore_sequence(self, seq_id: int, data: bytes | memoryview) -> bool:
        assert self.backend.streams is self
        assert 0 <= seq_id < NUM_STREAMS
        assert seq_id not in self.holders
        self.holders[seq_id] = _restored(data)
        return True

    def close(self) -> None:
        self.is_open = False


def _saved(held: dict[int, Cell]) -> bytes:
    return json.dumps([(position, cell.prefix) for position, cell in held.items()]).encode()


def _restored(data: bytes | memoryview) -> dict[int, Cell]:
    return {position: Cell(prefix) for position, prefix in json.loads(bytes(data))}


def _draw(chunk: ScheduledChunk) -> list[int]:
    run = [chunk.seq.num_computed + chunk.num_tokens]
    for draft in chunk.drafts:
        if draft != run[-1]:
            break
        run.append(run[-1] + 1)
    return run


def prefixes(seq: Sequence, drafts: tuple[int, ...] = ()) -> list[int]:
    """Return a hash of each beginning and the adapters, the shortest first."""
    found: list[int] = []
    for token in [*seq.tokens, *drafts]:
        found.append(hash((found[-1] if found else seq.adapters, token)))
    return found


def _slot(seq: Sequence) -> int:
    assert seq.slot is not None
    return seq.slot
