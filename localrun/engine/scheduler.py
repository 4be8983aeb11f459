"""Scheduler: which tokens the next forward pass computes.

Policy: sequences start in the order of their arrival. Decoding sequences take one token each;
prompts take as much of the step's token budget as their pace allows (`PromptPacing`), the shortest
first (`prompt_order`). A few prompt tokens are computed together with what decodes, which reads the
weights once for both; many, and in streams whole tiles, in a step of their own, and one that
decodes follows, unless nobody reads and all came together. GPUs compute all of them together.
Background sequences give way to interactive ones: these start before them, in their slots and cells
if necessary, and leave them a share of each step (`BackgroundPacing`). A step computes sequences of
one adapter set; several sets alternate (`AdapterRotation`). If a prompt begins like one that is
being computed, its request waits for that part and then shares it; later requests may overtake it.
Media have steps of their own (`media_steps`), in turn with those of tokens.
No cells are reserved for tokens that are not generated yet: when the cache is full, cached
prefixes are evicted first, then the youngest sequence is preempted and computed again later.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from localrun.engine.adapter_rotation import AdapterRotation
from localrun.engine.media.media_steps import media_parts, num_text_tokens
from localrun.engine.pacing.background import BackgroundPacing, StepMix
from localrun.engine.pacing.prompt_order import are_one_batch, in_order, record_passing
from localrun.engine.params import STEP_TOKENS, TILE_TOKENS
from localrun.engine.prefix_leaders import PrefixLeaders
from localrun.engine.waiting_sequences import WaitingSequences

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from localrun.engine.cache.kv_cache import CellLayout, KvCache
    from localrun.engine.media.chunk import MediaChunk
    from localrun.engine.sequence import Sequence

CELLS_AHEAD = 16  # a sequence is admitted if its prompt and this many cells fit
# returns the most prompt tokens of a step, given what decodes and the prompts in their order
Pace: TypeAlias = "Callable[[list[Sequence], list[Sequence]], int]"
NO_DRAFTS: Mapping[Sequence, tuple[int, ...]] = {}
# returns draft tokens by sequence, given those that decode, oldest first
DraftProposal: TypeAlias = "Callable[[list[Sequence]], Mapping[Sequence, tuple[int, ...]]]"
MAX_CONSIDERED = 64  # waiting sequences that one step considers, however long the queue is
# A whole tile of prompt tokens is computed also at the cells of what decodes, and from so many
# cells on that costs more than to read the weights once more.
TILE_CELLS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerLimits:
    """Capacity of one step and of the KV cache."""

    num_slots: int  # sequences that run together
    num_cells: int  # tokens that the KV cache holds
    step_tokens: int = STEP_TOKENS
    part_tokens: int = 0  # of a step, which llama.cpp computes together; 0: all
    call_tokens: int = 0  # of a step of prompts on a slow machine; 0: as many as fit a step
    mixes_tiles: bool = False  # whole tiles of prompts are computed with what decodes, as on GPUs
    min_shared_tokens: int = 32  # of a prompt being computed that are worth waiting for
    num_drafts: int = 0  # draft tokens that one step may verify, of all sequences together
    num_rollback: int = 0  # draft tokens of a sequence that a recurrent state takes back
    stream_cells: int = 0  # tokens of one sequence in a stream of its own; 0: no streams
    host_cache_bytes: int = 0  # host memory for prefixes that were moved out of the cells


@dataclass(frozen=True, slots=True)
class ScheduledChunk:
    """Pending tokens of one sequence in a step, and draft tokens that may follow them."""

    seq: Sequence
    num_tokens: int
    drafts: tuple[int, ...] = ()  # only if no token is pending behind the chunk

    @property
    def num_cells(self) -> int:
        """Return the number of tokens and drafts, each of which takes a cell."""
        return self.num_tokens + len(self.drafts)

    @property
    def is_last(self) -> bool:
        """Return whether nothing is pending behind this chunk, so that a token is sampled."""
        return self.num_tokens == self.seq.num_pending


@dataclass(frozen=True, slots=True)
class _Selection:
    """Sequences that the next step may compute, and the most tokens of their prompts."""

    sequences: list[Sequence]
    num_prompt_tokens: int


@dataclass(frozen=True, slots=True)
class _StepPlan:
    """Chunks of a step, and whether sequences that decode are left out for them."""

    chunks: list[ScheduledChunk]
    holds_decoding: bool = False


class Scheduler:
    """Waiting and running sequences. Pure bookkeeping: no clock, thread or tensor."""

    def __init__(self, limits: SchedulerLimits, cache: KvCache) -> None:
        self._limits = limits
        self._cache = cache
        self._rotation = AdapterRotation()
        self._background = BackgroundPacing()
        self._waiting = WaitingSequences()
        self._running: list[Sequence] = []
        self._leaders = PrefixLeaders(cache, limits.min_shared_tokens)
        self._is_full = False  # the head of the queue did not fit, and no sequence ended since
        self._held_decoding = False  # the last step, for many prompt tokens or for media
        self._mix: StepMix | None = None  # of the last step, if background sequences run
        self._num_with_media = 0  # sequences

    @property
    def call_tokens(self) -> int:
        """Return how many prompt tokens a step has on a slow machine."""
        return self._limits.call_tokens or self._limits.step_tokens

    @property
    def has_work(self) -> bool:
        """Return whether any sequence waits or runs."""
        return bool(self._waiting or self._running)

    @property
    def only_decodes(self) -> bool:
        """Return whether no sequence waits, and all that run decode."""
        return not self._waiting and all(seq.is_decoding for seq in self._running)

    @property
    def layout(self) -> CellLayout:
        """Return where the cells of the next step are."""
        return self._cache.layout

    @property
    def running(self) -> tuple[Sequence, ...]:
        """Return the running sequences, oldest first."""
        return tuple(self._running)

    @property
    def num_waiting(self) -> int:
        """Return the number of sequences without a slot."""
        return len(self._waiting)

    @property
    def awaits_encode(self) -> bool:
        """Return whether a running sequence stands at a medium that is not encoded."""
        return self._num_with_media > 0 and any(seq.awaits_encode for seq in self._running)

    def next_medium(self) -> MediaChunk | None:
        """Return the next medium of the running sequences to be encoded, or None."""
        if not self._num_with_media:
            return None
        missing = (seq.media.missing_behind(seq.num_computed) for seq in self._running if seq.media)
        return next((chunk for chunk in missing if chunk is not None), None)

    def needs(self, chunk: MediaChunk) -> bool:
        """Return whether a sequence has a medium that it has not computed yet."""
        return any(
            seq.media is not None and seq.media.has_behind(seq.num_computed, chunk)
            for seq in (*self._running, *self._waiting.first(MAX_CONSIDERED))
        )

    def add(self, seq: Sequence) -> None:
        """Append a sequence to the queue."""
        self._waiting.append(seq)
        self._num_with_media += seq.media is not None
        if not seq.is_background:
            self._is_full = False  # background sequences may give way to it

    def admit(self) -> list[Sequence]:
        """Start waiting sequences while slots and cells suffice; return the started ones."""
        admitted: list[Sequence] = []
        if self._is_full or not self._waiting:
            return admitted
        for seq in self._waiting.first(MAX_CONSIDERED):
            if not self._cache.has_free_slot and not self._gives_way(seq):
                break
            if self._leaders.has_busy(seq, self._running):
                continue
            if not self._allocate(seq):
                self._is_full = True
                break
            self._waiting.remove(seq)
            self._running.append(seq)
            admitted.append(seq)
        return admitted

    def schedule(self, pace: Pace, propose: DraftProposal) -> list[ScheduledChunk]:
        """Return the chunks of the next step, and reserve cells for them.

        ``propose`` is called once, with the sequences that decode. The list is empty if nothing
        runs, or if the only running sequence has used the whole cache.
        """
        self._cache.adapt()
        plan = self._plan_step(pace)
        drafts = propose([chunk.seq for chunk in plan.chunks if chunk.seq.is_decoding])
        if drafts:
            plan = self._plan_step(pace, drafts)
        while not self._cache.reserve(sum(chunk.num_cells for chunk in plan.chunks)):
            if drafts:
                drafts = NO_DRAFTS  # no sequence is preempted for draft tokens
            elif not self.preempt_youngest():
                return []
            plan = self._plan_step(pace, drafts)
        self._held_decoding = plan.holds_decoding
        self._mix = None
        if any(seq.is_background for seq in self._running):
            self._mix = StepMix.of([(chunk.seq, bool(chunk.drafts)) for chunk in plan.chunks])
        return plan.chunks

    def can_repeat(self, chunks: list[ScheduledChunk]) -> bool:
        """Return whether the next plan would have the chunks of the last step, but for drafts.

        That is so while all sequences decode and none of them ends. The layout of the cells is
        chosen when the next step is scheduled.
        """
        if len(chunks) != len(self._running) or self._waiting or self._mix is not None:
            return False
        return all(
            chunk.num_cells == 1 and chunk.seq.is_decoding and chunk.seq.num_generated > 1
            for chunk in chunks
        )

    def reserve(self, chunks: list[ScheduledChunk]) -> bool:
        """Reserve the cells of the last step's chunks once more; return False without room."""
        return self._cache.reserve(len(chunks))

    def record_step_time(self, seconds: float) -> None:
        """Record the duration of a scheduled step, also of an aborted one."""
        if self._mix is not None:
            self._background.record(self._mix, seconds)
        if self._held_decoding:
            return  # the turn includes the step that follows, which decodes
        has_prompts = not all(seq.is_decoding for seq in self._running)
        self._rotation.record_step(seconds, is_last_of_turn=has_prompts)

    def preempt_youngest(self) -> bool:
        """Preempt the youngest running sequence; return False if it is the only one.

        An interactive sequence is preempted only if no background sequence runs.
        """
        if len(self._running) <= 1:
            return False
        self.preempt(self._youngest_background() or self._running[-1])
        self._is_full = True
        return True

    def preempt(self, seq: Sequence) -> None:
        """Free the slot of a running sequence and put it at the head of the queue."""
        self._running.remove(seq)
        self._cache.free(seq)
        self._waiting.append_first(seq)
        self._is_full = False

    def mark_computed(self, chunk: ScheduledChunk) -> None:
        """Advance ``num_computed`` by a chunk; prompt tokens become available to others."""
        seq, was_prompt = chunk.seq, not chunk.seq.is_decoding
        if was_prompt:
            record_passing(self._running, seq, chunk.num_tokens)
        seq.num_computed += chunk.num_tokens
        if was_prompt:
            self._cache.publish(seq)

    def recover(self, chunks: list[ScheduledChunk]) -> None:
        """Make the sequences of an aborted step consistent, so that they can continue."""
        for chunk in chunks:
            self._cache.recover(chunk.seq)

    def reject_drafts(self, seq: Sequence) -> None:
        """Free the cells of rejected draft tokens."""
        self._cache.truncate(seq)

    def remove(self, seq: Sequence) -> None:
        """Remove a finished sequence, running or waiting."""
        self._is_full = False
        self._num_with_media -= seq.media is not None
        self._leaders.forget(seq)
        if seq.slot is not None:
            self._running.remove(seq)
            self._cache.free(seq)
        else:
            self._waiting.remove(seq)

    def _gives_way(self, seq: Sequence) -> bool:
        """Return whether a background sequence can be preempted for a waiting one."""
        return not seq.is_background and self._youngest_background() is not None

    def _youngest_background(self) -> Sequence | None:
        return next((seq for seq in reversed(self._running) if seq.is_background), None)

    def _allocate(self, seq: Sequence) -> bool:
        """Assign slot and cells, those of background sequences if there are no others."""
        while not (self._cache.has_free_slot and self._cache.allocate(seq, CELLS_AHEAD)):
            background = self._youngest_background()
            if seq.is_background or background is None:
                return False
            self.preempt(background)
        return True

    def _select(self, pace: Pace) -> _Selection:
        """Return the sequences of the next step: of one adapter set, prompts behind the others.

        Prompts that may be computed are those of the set of the first one.
        """
        running = self._running
        if self._num_with_media:
            running = [seq for seq in running if not seq.awaits_encode]
        running = self._background.select(running)
        decoding = [seq for seq in running if seq.is_decoding]
        if len(decoding) == len(running):
            return _Selection(self._rotation.select(decoding), 0)
        prompts = in_order(seq for seq in running if not seq.is_decoding)
        num_tokens = pace(decoding, prompts)
        if prompts[0].is_background:  # who comes meanwhile is interactive
            is_alone = all(seq.is_background for seq in decoding)
            num_tokens = min(num_tokens, self.call_tokens if is_alone else TILE_TOKENS)
        first = prompts[0].adapters if num_tokens else None
        candidates = [*decoding, *(seq for seq in prompts if seq.adapters == first)]
        return _Selection(self._rotation.select(candidates), num_tokens)

    def _plan_step(
        self, pace: Pace, drafts: Mapping[Sequence, tuple[int, ...]] = NO_DRAFTS
    ) -> _StepPlan:
        """Return the chunks that fit the token budget: decoding sequences first, then prompts."""
        selection = self._select(pace)
        chunks = [ScheduledChunk(seq, 1) for seq in selection.sequences if seq.is_decoding]
        if self._num_with_media and (media := self._media_chunks(selection, chunks)):
            return _StepPlan(media, holds_decoding=bool(chunks))
        prompts = self._prompt_chunks(selection, []) if selection.num_prompt_tokens else []
        if not chunks:
            return _StepPlan(prompts)
        is_separate = self._are_separate(chunks, prompts)
        if is_separate and (not self._held_decoding or _are_one_batch(chunks, prompts)):
            return _StepPlan(prompts, holds_decoding=True)
        budget = self._limits.step_tokens - len(chunks)
        num_drafts = sum(len(drafts.get(chunk.seq, ())) for chunk in chunks)
        if num_drafts and num_drafts <= min(budget, self._limits.num_drafts):
            chunks = [ScheduledChunk(chunk.seq, 1, drafts.get(chunk.seq, ())) for chunk in chunks]
        if is_separate or not prompts:
            return _StepPlan(chunks)
        return _StepPlan(chunks + self._prompt_chunks(selection, chunks))

    def _are_separate(self, decoding: list[ScheduledChunk], prompts: list[ScheduledChunk]) -> bool:
        """Return whether a call with both takes longer than one of each.

        In streams llama.cpp first computes one token of each sequence in one pass, so that a chunk
        of a tile leaves one token less, which flash attention computes one after the other.
        """
        num_prompt = sum(chunk.num_tokens for chunk in prompts)
        if self._limits.mixes_tiles or num_prompt < TILE_TOKENS:
            return False
        num_cells = sum(chunk.seq.num_computed for chunk in decoding)
        return num_cells >= TILE_CELLS or not self._cache.layout.is_unified

    def _media_chunks(
        self, selection: _Selection, decoding: list[ScheduledChunk]
    ) -> list[ScheduledChunk]:
        """Return the parts of media of a step that is due; else none.

        It is due in turn with sequences that decode, or else if the first prompt is at a medium.
        """
        prompts = [seq for seq in selection.sequences if not seq.is_decoding]
        is_due = not self._held_decoding if decoding else bool(prompts and prompts[0].is_at_medium)
        if not is_due or not selection.num_prompt_tokens:
            return []
        num_tokens = min(self._limits.step_tokens, selection.num_prompt_tokens)
        return [
            ScheduledChunk(seq, count) for seq, count in media_parts(prompts, num_tokens).items()
        ]

    def _prompt_chunks(
        self, selection: _Selection, decoding: list[ScheduledChunk]
    ) -> list[ScheduledChunk]:
        """Return chunks of the selected prompts that fit the step beside those that decode."""
        chunks: list[ScheduledChunk] = []
        is_split = not self._cache.layout.is_unified
        budget = self._limits.step_tokens - sum(chunk.num_cells for chunk in decoding)
        budget = min(budget, selection.num_prompt_tokens)
        num_spare = self._num_spare_outputs(selection.sequences, decoding)
        for seq in selection.sequences:
            if seq.is_decoding:
                continue
            # in streams, a few tokens of one more prompt take a pass of their own
            is_full = is_split and sum(chunk.num_tokens for chunk in chunks) >= TILE_TOKENS
            num_tokens = min(num_text_tokens(seq, self._cache.chunk_end(seq)), budget)
            if is_full and num_tokens < min(seq.num_pending, TILE_TOKENS):
                break
            if seq.wants_prompt_logprobs:
                num_tokens = min(num_tokens, num_spare + 1)
                num_spare -= max(0, num_tokens - 1)
            if num_tokens > 0:
                chunks.append(ScheduledChunk(seq, num_tokens))
                budget -= num_tokens
        return chunks

    def _num_spare_outputs(self, selected: list[Sequence], decoding: list[ScheduledChunk]) -> int:
        """Return how many logits fit into a step beside one for each sequence and draft."""
        num_taken = len(selected) + sum(len(chunk.drafts) for chunk in decoding)
        return self._limits.num_slots + self._limits.num_drafts - num_taken


def _are_one_batch(decoding: list[ScheduledChunk], prompts: list[ScheduledChunk]) -> bool:
    return are_one_batch([chunk.seq for chunk in decoding], [chunk.seq for chunk in prompts])
