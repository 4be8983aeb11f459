"""Decide which tokens the next forward pass computes.

Policy: first come, first served. Sequences that decode take one token each; what
is left of the step's budget goes to prompts, oldest first. A step computes sequences of
one adapter set; several sets take turns (turns.py). A request whose prompt
begins like one that is being computed waits for that part, then shares it; others
pass it. Nothing is reserved for tokens that may come: when the cache is full,
cached prefixes go, then the youngest sequence gives its cells back and is computed
again later.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from localrun.engine.adapter_rotation import AdapterRotation
from localrun.engine.cache.radix import common_length
from localrun.engine.params import STEP_TOKENS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from localrun.engine.sequence import Sequence

CELLS_AHEAD = 16  # a sequence is admitted when its prompt and this many cells are free
NO_DRAFTS: Mapping[Sequence, tuple[int, ...]] = {}
BEGUN_TOKENS = 4  # a stream of no more has no rhythm yet that a reader could miss
LOOKED_AT = 64  # waiting sequences that one step considers, whatever the length of the queue


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerLimits:
    """What one step and one cache can take."""

    num_slots: int  # sequences that run together
    num_cells: int  # tokens that the KV cache holds
    step_tokens: int = STEP_TOKENS
    worth_waiting_tokens: int = 32  # of a prefix that another request computes just now
    num_drafts: int = 0  # guessed tokens that one step may check, of all sequences together
    attic_bytes: int = 0  # host memory that prefixes may take which left the cells


class Cache(Protocol):
    """Who has which slot and cells; see `PrefixCache` and `StateCache`."""

    @property
    def has_slot(self) -> bool:
        """Return whether one more sequence can run."""

    def lead(self, leader: Sequence, seq: Sequence, length: int) -> bool:
        """Prepare to share the leader's first ``length`` tokens; False: that spares no work."""

    def open(self, seq: Sequence, spare: int) -> bool:
        """Give a slot and what is computed already; False when there is no room."""

    def next_stop(self, seq: Sequence) -> int:
        """Return the position where a row of the sequence has to end, that of its last at most."""

    def rewind(self, seq: Sequence) -> None:
        """Make it true again what counts as computed, after a step that was broken off."""

    def publish(self, seq: Sequence) -> None:
        """Let others share what the sequence has computed."""

    def close(self, seq: Sequence) -> None:
        """Take the slot back."""

    def reserve(self, count: int) -> bool:
        """Have ``count`` cells free; False when cached prefixes cannot give as many."""

    def cut(self, seq: Sequence) -> None:
        """Free the sequence's cells behind what counts as computed."""


@dataclass(frozen=True, slots=True)
class ScheduledChunk:
    """``count`` pending tokens of one sequence, and guesses of what may follow them."""

    seq: Sequence
    count: int
    drafts: tuple[int, ...] = ()  # only behind the last pending token

    @property
    def width(self) -> int:
        """Return how many tokens are computed, and cells taken."""
        return self.count + len(self.drafts)

    @property
    def is_last(self) -> bool:
        """Return whether nothing is pending after this row, so that a token is drawn."""
        return self.count == self.seq.num_pending


@dataclass(frozen=True, slots=True)
class _Leader:
    """A running sequence that computes what a waiting one begins with."""

    seq: Sequence
    length: int  # tokens in common

    @property
    def is_busy(self) -> bool:
        """Return whether the common part is still to come."""
        return self.seq.slot is not None and self.seq.num_computed < self.length


class Scheduler:
    """Admit and order sequences. Pure bookkeeping: no clock, thread or tensor."""

    def __init__(self, limits: SchedulerLimits, cache: Cache) -> None:
        self._limits = limits
        self._cache = cache
        self._turns = AdapterRotation()
        self._waiting: deque[Sequence] = deque()
        self._running: list[Sequence] = []
        self._leaders: dict[int, _Leader] = {}  # by the id of the request that waits
        self._is_full = False  # the first in the queue did not fit, and nobody has ended since

    @property
    def has_work(self) -> bool:
        """Return whether any sequence waits or runs."""
        return bool(self._waiting or self._running)

    @property
    def running(self) -> tuple[Sequence, ...]:
        """Return the running sequences, oldest first."""
        return tuple(self._running)

    @property
    def num_waiting(self) -> int:
        """Return how many sequences have no slot."""
        return len(self._waiting)

    @property
    def next_decoding(self) -> list[Sequence]:
        """Return the sequences that decode in the next step, oldest first."""
        return [seq for seq in self._turns.of(self._running) if seq.is_decoding]

    def add(self, seq: Sequence) -> None:
        """Queue a sequence behind all others."""
        self._waiting.append(seq)

    def admit(self) -> list[Sequence]:
        """Give slots to waiting sequences as far as slots and cells reach; return these."""
        admitted: list[Sequence] = []
        if self._is_full or not self._waiting:
            return admitted
        for seq in list(islice(self._waiting, LOOKED_AT)):
            if not self._cache.has_slot:
                break
            if self._waits_for_leader(seq):
                continue
            if not self._cache.open(seq, CELLS_AHEAD):
                self._is_full = True
                break
            self._waiting.remove(seq)
            self._running.append(seq)
            admitted.append(seq)
        return admitted

    def plan(
        self,
        prompt_tokens: Callable[[int], int],
        drafts: Mapping[Sequence, tuple[int, ...]] = NO_DRAFTS,
    ) -> list[ScheduledChunk]:
        """Return the rows of the next step, for which cells are free.

        ``prompt_tokens`` tells how many tokens of prompts may go along with so many
        sequences that decode, ``drafts`` how these may go on. Empty when nothing runs, or
        when the only sequence that runs has used the whole cache.
        """
        rows = self._compose(prompt_tokens, drafts)
        while not self._cache.reserve(sum(row.width for row in rows)):
            if drafts:
                drafts = NO_DRAFTS  # nobody is preempted for a guess
            elif not self.preempt_youngest():
                return []
            rows = self._compose(prompt_tokens, drafts)
        return rows

    def took(self, seconds: float) -> None:
        """Count the time of a planned step, also of one that was broken off."""
        has_prompts = not all(seq.is_decoding for seq in self._running)
        self._turns.spend(seconds, is_short=has_prompts)

    def preempt_youngest(self) -> bool:
        """Send the youngest running sequence back to the head of the queue.

        False when it is the only one: then there is nobody to make room for.
        """
        if len(self._running) <= 1:
            return False
        self.send_back(self._running[-1])
        self._is_full = True
        return True

    def send_back(self, seq: Sequence) -> None:
        """Send a running sequence to the head of the queue, without its cells."""
        self._running.remove(seq)
        self._cache.close(seq)
        self._waiting.appendleft(seq)
        self._is_full = False

    def computed(self, row: ScheduledChunk) -> None:
        """Count a row as done; what belongs to a prompt can be shared from now on."""
        was_prompt = not row.seq.is_decoding
        row.seq.num_computed += row.count
        if was_prompt:
            self._cache.publish(row.seq)

    def broken_off(self, rows: list[ScheduledChunk]) -> None:
        """Go on after a step that was aborted."""
        for row in rows:
            self._cache.rewind(row.seq)

    def reject(self, seq: Sequence) -> None:
        """Free the cells of guesses that were wrong."""
        self._cache.cut(seq)

    def remove(self, seq: Sequence) -> None:
        """Forget a sequence that ended, wherever it is."""
        self._is_full = False
        self._leaders.pop(seq.request_id, None)
        if seq.slot is not None:
            self._running.remove(seq)
            self._cache.close(seq)
        else:
            self._waiting.remove(seq)

    def _compose(
        self, prompt_tokens: Callable[[int], int], drafts: Mapping[Sequence, tuple[int, ...]]
    ) -> list[ScheduledChunk]:
        """Return what the next step should compute: decoding sequences first, then prompts."""
        chosen = self._turns.of(self._running)
        rows = [ScheduledChunk(seq, 1) for seq in chosen if seq.is_decoding]
        budget = self._limits.step_tokens - len(rows)
        num_drafts = sum(len(drafts.get(row.seq, ())) for row in rows)
        if num_drafts and num_drafts <= min(budget, self._limits.num_drafts):
            rows = [ScheduledChunk(row.seq, 1, drafts.get(row.seq, ())) for row in rows]
            budget -= num_drafts
        decoding = [seq for seq in self._running if seq.is_decoding]  # others wait for this step
        pending = sum(seq.num_pending for seq in chosen if not seq.is_decoding)
        comes_together = pending <= budget and _have_begun(decoding)
        if decoding and not comes_together:
            budget = min(budget, prompt_tokens(len(decoding)))
        spare = self._spare_outputs(chosen, rows)
        for seq in chosen:
            if seq.is_decoding:
                continue
            count = min(self._cache.next_stop(seq) - seq.num_computed, budget)
            if seq.weighs_prompt:
                count = min(count, spare + 1)
                spare -= max(0, count - 1)
            if count > 0:
                rows.append(ScheduledChunk(seq, count))
                budget -= count
        return rows

    def _spare_outputs(self, chosen: list[Sequence], decoding: list[ScheduledChunk]) -> int:
        """Return how many logits a step has room for, beside one of each sequence and drafts."""
        taken = len(chosen) + sum(len(row.drafts) for row in decoding)
        return self._limits.num_slots + self._limits.num_drafts - taken

    def _waits_for_leader(self, seq: Sequence) -> bool:
        """Return whether a running sequence is about to compute what this one could share."""
        known = self._leaders.get(seq.request_id)
        if known is not None and known.is_busy:
            return True
        found = self._find_leader(seq)
        if found is None:
            self._leaders.pop(seq.request_id, None)
        else:
            self._leaders[seq.request_id] = found
        return found is not None

    def _find_leader(self, seq: Sequence) -> _Leader | None:
        limit = seq.most_shared
        prompts = [
            other
            for other in self._running
            if other.num_pending > 1 and other.adapters == seq.adapters
        ]
        leaders = [
            _Leader(other, min(limit, common_length(seq.tokens, other.tokens))) for other in prompts
        ]
        best = max(leaders, key=lambda leader: leader.length, default=None)
        if best is None or best.length - best.seq.num_computed < self._limits.worth_waiting_tokens:
            return None
        return best if self._cache.lead(best.seq, seq, best.length) else None


def _have_begun(streams: list[Sequence]) -> bool:
    """Return whether all streams have only just begun."""
    return all(seq.num_generated <= BEGUN_TOKENS for seq in streams)
