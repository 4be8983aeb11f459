"""Switching cache: a prefix cache whose running sequences move to streams while that is faster.

    unified     PrefixCache: all sequences and cached prefixes in one context
    streams     StreamCache: sequences in a second context, cached prefixes in the first
    transposed  as streams, in a context without flash attention

The second context exists while it is used, and until the cells of sequences that ended there are
moved: while nothing runs, or in the next switch. A switch happens between two steps and moves the
cells of all sequences, one after the other. Invariant: nothing that was computed is lost.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from localrun.engine.cache.kv_cache import CellLayout
from localrun.engine.cache.layout_rule import LayoutRule
from localrun.engine.cache.stream_cache import StreamCache
from localrun.engine.cache.stream_memory import SINGLE, CellPages

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.engine.cache.prefix_cache import PrefixCache
    from localrun.engine.cache.stream_memory import StreamMemory
    from localrun.engine.sequence import Sequence

PAGE_CELLS = 2048  # of one dimension of transposed values of two bytes, in a page of 4 KiB
RETRY_STEPS = 32  # after streams were refused or left for want of memory
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _DecodingState:
    """The sequences of a step, and how many of their tokens are computed."""

    members: tuple[int, ...]  # request ids
    num_computed: int

    @classmethod
    def of(cls, running: list[Sequence]) -> _DecodingState:
        members = tuple(seq.request_id for seq in running)
        return cls(members, sum(seq.num_computed for seq in running))

    def is_behind(self, before: _DecodingState, num_steps: int) -> bool:
        """Return whether each sequence got one token a step, so that none had draft tokens."""
        num_new = self.num_computed - before.num_computed
        return num_new == num_steps * len(self.members) and self.members == before.members


class StreamContexts(Protocol):
    """What opens and closes the second context."""

    @property
    def num_streams(self) -> int:
        """Return how many streams a context has."""

    @property
    def stream_cells(self) -> int:
        """Return how many tokens of a sequence fit into a stream."""

    def open_streams(
        self, num_cells: int, num_copied: int, *, is_transposed: bool
    ) -> StreamMemory | None:
        """Open a context with streams, which computes from now on; None without memory.

        ``num_cells`` will be used at once, ``num_copied`` are copied on their way. With
        ``is_transposed`` flash attention is off. The context that computed before stays open.
        """

    def close_streams(self, memory: StreamMemory) -> None:
        """Close a context; if it computed, the unified one does again."""

    def drop_copies(self) -> None:
        """Free the memory of cells that were on their way."""


class SwitchingCache:
    """A `KvCache` of three layouts."""

    exports_whole_prompts = False

    def __init__(
        self,
        unified: PrefixCache,
        contexts: StreamContexts,
        rule: LayoutRule | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.supply = unified.supply
        self.num_switches = 0
        self._unified = unified
        self._contexts = contexts
        self._rule = rule or LayoutRule()
        self._streams: StreamCache | None = None
        self._layout = CellLayout.UNIFIED
        self._is_packed = False  # unified cells that are free have no memory
        most = contexts.stream_cells
        self._value_pages = CellPages(min(PAGE_CELLS, most), most)  # if they are transposed
        self._num_steps = 0  # reserved since the layout was chosen
        self._num_waited = RETRY_STEPS + 1  # steps since streams were not possible
        self._clock = clock
        self._adapted_at = 0.0  # before the last steps
        self._before: _DecodingState | None = None  # the last steps, if they only decode

    @property
    def layout(self) -> CellLayout:
        """Return where the cells of running sequences are."""
        return self._layout

    @property
    def has_free_slot(self) -> bool:
        """Return whether one more sequence can run."""
        return self._current.has_free_slot

    @property
    def num_used_cells(self) -> int:
        """Return the number of cells that are not free, cached prefixes included."""
        return self._current.num_used_cells

    def prepare_sharing(self, leader: Sequence, seq: Sequence, length: int) -> bool:
        """Return whether sharing the leader's first ``length`` tokens saves computation."""
        if self._streams is not None:
            return self._streams.prepare_sharing(seq, length)
        return self._unified.prepare_sharing(leader, seq, length)

    def allocate(self, seq: Sequence, num_spare: int) -> bool:
        """Assign a slot and the longest cached prefix, if tokens and spare cells fit.

        If the streams have no room, unified cells may have: they need no memory for streams that
        are not in use. While nothing runs, only a sequence that continues one in a stream begins
        there.
        """
        streams = self._streams
        if streams is not None and not streams.running and streams.continued_by(seq) is None:
            self._leave_streams()
        if self._streams is None:
            return self._unified.allocate(seq, num_spare)
        if self._streams.allocate(seq, num_spare):
            self._contexts.drop_copies()
            return True
        self._leave_streams()
        return self._unified.allocate(seq, num_spare)

    def adapt(self) -> None:
        """Switch if the rule says so, or if streams are not possible; close gaps of the slots."""
        num_steps, self._num_steps = self._num_steps, 0
        self._num_waited += num_steps
        running = self._current.running
        self._record_steps(running, num_steps)
        wanted = self._rule.choose(running, self.layout, num_steps)
        if wanted is not self.layout and self._makes_a_reader_wait(running):
            wanted = self.layout
        if CellLayout.TRANSPOSED in {wanted, self.layout} and any(map(_needs_one_call, running)):
            wanted = CellLayout.UNIFIED  # where calls are large enough
        if self._streams is not None and (wanted.is_unified or not self._can_stream(running)):
            self._leave_streams()
        elif wanted is self.layout:
            if self._streams is not None and self._streams.close_gaps():
                self._contexts.drop_copies()
                self._before = None
        elif self._num_waited > RETRY_STEPS and self._can_stream(running):
            self._enter_streams(wanted)

    def _record_steps(self, running: list[Sequence], num_steps: int) -> None:
        """Record the time of the last steps, if they only decoded; begin to take the next."""
        now, decoding = self._clock(), _DecodingState.of(running)
        if num_steps and self._before is not None and decoding.is_behind(self._before, num_steps):
            seconds = (now - self._adapted_at) / num_steps
            for _ in range(num_steps):
                self._rule.record_step(seconds, decoding.members)
        self._adapted_at = now
        self._before = decoding if all(seq.is_decoding for seq in running) else None

    def chunk_end(self, seq: Sequence) -> int:
        """Return the position behind the last token: a chunk may end anywhere."""
        return len(seq.tokens)

    def reserve(self, num_cells: int) -> bool:
        """Free cells for a step, oldest cached prefixes first; return False if too few remain."""
        if self._streams is not None and not self._fit_streams(self._streams.running):
            return False  # a step is repeated, and the next one moves them
        has_room = self._current.reserve(num_cells)
        self._num_steps += has_room
        return has_room

    def publish(self, seq: Sequence) -> None:
        """Make the computed part of a prompt available to other sequences; a stream always is."""
        if self._streams is None:
            self._unified.publish(seq)

    def truncate(self, seq: Sequence) -> None:
        """Free the sequence's cells behind ``num_computed``."""
        self._current.truncate(seq)

    def recover(self, seq: Sequence) -> None:
        """Do nothing: an aborted step leaves whole cells, and ``num_computed`` counts them."""

    def free(self, seq: Sequence) -> None:
        """Release the slot; the computed tokens stay as a cached prefix, maybe in their stream.

        The last sequence of the streams closes them if it has not ended but been preempted.
        """
        self._before = None  # nothing may run for hours
        streams = self._streams
        if streams is None:
            self._unified.free(seq)
        elif len(streams.running) == 1 and seq.finish is None:
            self._unified.num_stream_cells = 0  # its cells may need their room
            streams.store(seq)
            self._leave_streams()
        else:
            streams.free(seq)
            self._contexts.drop_copies()

    def clear(self) -> None:
        """Drop all prefixes that no sequence uses."""
        if self._streams is not None:
            self._streams.drop_ended()
        self._leave_idle_streams()
        self._unified.clear()

    def compact(self) -> bool:
        """Move one piece of an idle prefix out of the cells; return False if all is done.

        Sequences that ended leave their streams first, then the streams are closed.
        """
        streams = self._streams
        if streams is None:
            return self._unified.compact()
        if streams.num_ended > 1 and streams.has_room_to_store():
            streams.store_first_ended()
        else:
            self._leave_streams()
        return True

    def cached_prompts(self) -> list[list[int]]:
        """Return the tokens of the longest cached prefixes without adapters, oldest use first."""
        self._leave_idle_streams()
        return self._unified.cached_prompts()

    def num_cached_tokens(self, tokens: list[int]) -> int:
        """Return the length of the cached prefix of ``tokens``, without adapters."""
        return self._unified.num_cached_tokens(tokens)

    def num_known_tokens(self, tokens: list[int]) -> int:
        """Return how many first tokens are computed, cached or in a stream."""
        num_known = self._streams.num_known(tokens) if self._streams is not None else 0
        return max(num_known, self._unified.num_cached_tokens(tokens))

    def export_run(self, tokens: list[int], start: int) -> bytes | None:
        """Return the cells of ``tokens[start:]``, or None if not all tokens are cached."""
        self._leave_idle_streams()
        return self._unified.export_run(tokens, start)

    def import_run(self, tokens: list[int], start: int, data: bytes) -> bool:
        """Add the cells of ``tokens[start:]`` as a cached prefix."""
        self._leave_idle_streams()
        return self._unified.import_run(tokens, start, data)

    @property
    def _current(self) -> PrefixCache | StreamCache:
        return self._streams or self._unified

    def _can_stream(self, running: list[Sequence]) -> bool:
        """Return whether the streams are large enough, and no sequence has adapters.

        A step computes one adapter set, so that the slots of a step would not be dense.
        """
        if self._streams is not None and (self._streams.lacks_room or not self._streams.fits()):
            return False
        return self._fit_streams(running) and not any(seq.adapters for seq in running)

    def _fit_streams(self, running: list[Sequence]) -> bool:
        most = self._contexts.stream_cells
        return all(len(seq.tokens) <= most for seq in running)

    def _makes_a_reader_wait(self, running: list[Sequence]) -> bool:
        """Return whether a reader would wait while the tokens of ended sequences move.

        Only if ended sequences have more tokens than the running ones: their move helps no request,
        and can happen while nothing runs.
        """
        num_ended = self._streams.num_ended_tokens if self._streams is not None else 0
        if num_ended <= sum(seq.num_computed for seq in running):
            return False
        now, move_s = time.monotonic(), self._rule.move_s(num_ended)
        readers = (seq.reader for seq in running if seq.is_decoding and seq.reader is not None)
        return any(reader.lead_s(now) < move_s for reader in readers)

    def _enter_streams(self, layout: CellLayout) -> None:
        """Move all sequences to streams, or to others, unless there is too little memory."""
        if self._streams is not None:
            self._streams.store_ended()
        streams = self._open(layout)
        if streams is None and layout is CellLayout.TRANSPOSED and self._streams is None:
            layout = CellLayout.STREAMS
            streams = self._open(layout) if len(self._unified.running) > 1 else None
        if streams is None:
            self._num_waited = 0
            return
        begun_at = self._clock()
        if self._streams is not None:
            for seq in self._streams.running:
                streams.begin(seq, seq.num_computed, self._streams.withdraw(seq))
            self._contexts.close_streams(self._streams.memory)
        else:
            self._leave_unified(streams, keeps=layout is CellLayout.TRANSPOSED)
        self._streams, self._layout = streams, layout
        self._contexts.drop_copies()
        num_moved = sum(seq.num_computed for seq in streams.running)
        self._rule.record_move(self._clock() - begun_at, num_moved)
        self._before = None
        self._count_switch(streams.num_covered_cells)

    def _open(self, layout: CellLayout) -> StreamCache | None:
        """Open streams for all running sequences; return None if they do not fit."""
        running = self._current.running
        is_transposed = layout is CellLayout.TRANSPOSED
        pages = self._value_pages if is_transposed else SINGLE
        # a step, too, must fit
        num_cells = sum(pages.cover(len(seq.tokens) + 1) for seq in running)
        if num_cells > self.supply.num_reserved:
            return None
        num_copied = 2 * max(len(seq.tokens) for seq in running)
        memory = self._contexts.open_streams(num_cells, num_copied, is_transposed=is_transposed)
        if memory is None:
            _log.debug("no streams for %d cells: too little memory", num_cells)
            return None
        if num_cells + self._unified.num_used_cells > self.supply.num_reserved:
            self._unified.offload_idle()
        return StreamCache(memory, self._unified, self._contexts.num_streams, pages)

    def _leave_unified(self, streams: StreamCache, *, keeps: bool) -> None:
        """Move all sequences to streams.

        ``keeps``: their cells stay in the tree as well if there is room, so that only what is new
        moves when a sequence ends.
        """
        running = self._unified.running
        num_cells = sum(self._value_pages.cover(len(seq.tokens)) for seq in running)
        keeps = keeps and num_cells + self._unified.num_used_cells <= self.supply.num_reserved
        for seq in running:
            if keeps:
                streams.begin_pinned(seq)
            else:
                streams.begin(seq, seq.num_computed, self._unified.withdraw(seq))
        if not keeps:
            self._unified.repack()
        self._is_packed = not keeps

    def _leave_streams(self) -> None:
        """Move all sequences to unified cells, and close the streams."""
        streams = self._streams
        if streams is None:
            return
        if streams.lacks_room or not streams.fits():
            self._num_waited = 0
        self._unified.num_stream_cells = 0  # they take the place of those in the streams
        streams.store_ended()
        for seq in streams.running:
            streams.store(seq)
            self._unified.resume(seq)
        self._close(streams)

    def _leave_idle_streams(self) -> None:
        """Close the streams if nothing runs in them."""
        if self._streams is not None and not self._streams.running:
            self._leave_streams()

    def _close(self, streams: StreamCache) -> None:
        self._streams, self._layout = None, CellLayout.UNIFIED
        self._before = None
        self._contexts.close_streams(streams.memory)
        self._count_switch(self.num_used_cells)

    def _count_switch(self, num_cells: int) -> None:
        """Count a switch after which so many cells have memory."""
        self.num_switches += 1
        if self._is_packed:
            self.supply.shrink_to(num_cells)


def _needs_one_call(seq: Sequence) -> bool:
    """Return whether a sequence has an image that llama.cpp must compute in one call."""
    if seq.media is None or seq.is_decoding:
        return False
    return not all(placed.chunk.shape.is_causal for placed in seq.media.chunks)
