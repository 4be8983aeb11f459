"""State cache of models with sliding-window, recurrent or hybrid memory.

The memory of recurrent and hybrid models and of sliding windows has no prefix: llama.cpp
copies a part of it without an error and computes nonsense from the copy. Two ways are exact:

- continue where a sequence ended, in its slot, as the next turn of a chat does;
- restore a checkpoint of the state that was saved while the prompt was computed
  (`Checkpoints`). If the model has cells of full attention besides, the slot needs those up
  to the checkpoint: it holds them, or shares them with the slot that does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.engine.cache.checkpoint_policy import CheckpointPolicy
from localrun.engine.cache.checkpoints import MIN_BUDGET_BYTES, Checkpoint, Checkpoints
from localrun.engine.cache.kv_cache import HYBRID, CellLayout, KvMemory, MemoryKind
from localrun.engine.cache.resume_points import ComputedTokens, ResumePoint, ResumePoints
from localrun.engine.cache.shared_cells import SharedCells
from localrun.engine.sequence import slot_of

if TYPE_CHECKING:
    from localrun.engine.cache.cell_supply import CellSupply
    from localrun.engine.llama.lora_adapters import AdapterSet
    from localrun.engine.sequence import Sequence


class StateCache:
    """A `KvCache` of running slots, idle slots with the states that sequences left, checkpoints."""

    exports_whole_prompts = True
    layout = CellLayout.UNIFIED
    num_switches = 0

    def __init__(
        self,
        memory: KvMemory,
        *,
        num_slots: int,
        supply: CellSupply,
        kind: MemoryKind = HYBRID,
        message_ends: frozenset[int] = frozenset(),
        checkpoint_bytes: int = MIN_BUDGET_BYTES,
    ) -> None:
        """``message_ends`` are the tokens that end a message."""
        self._memory = memory
        self.supply = supply
        self._kind = kind
        self._message_ends = message_ends
        self.checkpoints = Checkpoints(checkpoint_bytes)
        self._sequences: dict[int, Sequence] = {}  # by slot
        self._idle: dict[int, ComputedTokens] = {}  # by slot, oldest use first
        self._policies: dict[int, CheckpointPolicy] = {}  # by slot
        self._shared_cells = SharedCells()
        self._free_slots = list(range(num_slots - 1, -1, -1))

    @property
    def has_free_slot(self) -> bool:
        """Return whether one more sequence can run."""
        return bool(self._free_slots or self._idle)

    @property
    def num_used_cells(self) -> int:
        """Return the number of cells that are not free, idle states included.

        Cells of a window are never shared, so there every slot counts in full.
        """
        lengths = {slot: len(computed.tokens) for slot, computed in self._idle.items()}
        lengths |= {slot: seq.num_computed for slot, seq in self._sequences.items()}
        return self._shared_cells.num_distinct(lengths)

    def prepare_sharing(self, leader: Sequence, seq: Sequence, length: int) -> bool:
        """Schedule a checkpoint where the leader has computed the first ``length`` tokens.

        Return False if that saves ``seq`` no computation.
        """
        if self._longest_resume_point(seq.tokens, seq.adapters).length >= length:
            return False
        self._policies[slot_of(leader)].add(length)
        return True

    def allocate(self, seq: Sequence, num_spare: int) -> bool:
        """Assign a slot and the longest state to continue from, if tokens and spare cells fit."""
        point = self._longest_resume_point(seq.tokens[: seq.num_cacheable + 1], seq.adapters)
        missing = len(seq.tokens) + num_spare - self._num_shared(point)
        wanted = self._num_committed() + missing
        if self._sequences and wanted > self.supply.grow_to(wanted):
            return False
        seq.slot = self._slot_for(point)
        seq.num_computed = point.length
        if point.checkpoint is not None and not self._restore(seq.slot, point, seq):
            seq.num_computed = 0
        self._sequences[seq.slot] = seq
        self._plan_checkpoints(seq)
        return True

    def adapt(self) -> None:
        """Do nothing: the layout never changes."""

    def chunk_end(self, seq: Sequence) -> int:
        """Return the position of the next checkpoint, or the one behind the last token."""
        return self._policies[slot_of(seq)].next or len(seq.tokens)

    def reserve(self, num_cells: int) -> bool:
        """Free cells for a step, oldest idle states first; return False if too few remain."""
        if self._evict_for(num_cells):
            return True
        if len(self._sequences) > 1:
            return False
        self.supply.grant(self.num_used_cells + num_cells)
        return self._evict_for(num_cells)

    def publish(self, seq: Sequence) -> None:
        """Save a checkpoint if one is due at ``num_computed``."""
        if not self._policies[slot_of(seq)].reach(seq.num_computed):
            return
        checkpoint = Checkpoint(tuple(seq.tokens[: seq.num_computed]), seq.adapters)
        if self.checkpoints.use(checkpoint) is None:
            self.checkpoints.add(checkpoint, self._memory.save_state(slot_of(seq)))

    def truncate(self, seq: Sequence) -> None:
        """Free the cells of rejected draft tokens, which the state takes back.

        llama.cpp does that once between two steps, for at most as many tokens as the context has
        snapshots of the state (``n_rs_seq``). Models without snapshots have no draft tokens.
        """
        slot, end = slot_of(seq), seq.position_at(seq.num_computed)
        self._memory.remove_cells(slot, end, -1)
        if not self._kind.has_window:
            self._shared_cells.truncate(slot, seq.num_computed)

    def recover(self, seq: Sequence) -> None:
        """Return to the last checkpoint: an aborted step leaves a state at any position."""
        if not self._kind.has_state:
            self.publish(seq)  # the cells that were computed before the abort are valid
            return
        slot, computed = slot_of(seq), seq.tokens[: seq.num_computed]
        checkpoint = next(self.checkpoints.find(computed, seq.adapters), None)
        seq.num_computed = checkpoint.length if checkpoint else 0
        if not self._restore(slot, ResumePoint(seq.num_computed, slot, checkpoint), seq):
            seq.num_computed = 0
        upcoming = self._policies[slot].upcoming
        self._plan_checkpoints(seq)
        for position in upcoming:
            self._policies[slot].add(position)  # other sequences may wait for it

    def free(self, seq: Sequence) -> None:
        """Make the slot idle: its state can be continued until the slot is needed."""
        slot = slot_of(seq)
        del self._sequences[slot], self._policies[slot]
        if seq.num_computed:
            self._idle[slot] = ComputedTokens(seq.tokens[: seq.num_computed], seq.adapters)
        else:
            self._free_slot(slot)
        seq.slot, seq.num_computed = None, 0

    def clear(self) -> None:
        """Drop all idle states and checkpoints."""
        while self._idle:
            self._evict_oldest()
        self.checkpoints.clear()

    def compact(self) -> bool:
        """Return False: idle states stay where they are."""
        return False

    def cached_prompts(self) -> list[list[int]]:
        """Return the tokens of idle states without adapters, oldest use first."""
        return [computed.tokens for computed in self._idle.values() if not computed.adapters]

    def num_cached_tokens(self, tokens: list[int]) -> int:
        """Return the length of the longest state that ``tokens`` can continue, without adapters."""
        return self._longest_resume_point([*tokens, 0], ()).length  # one more token follows

    def num_known_tokens(self, tokens: list[int]) -> int:
        """Return how many first tokens are cached."""
        return self.num_cached_tokens(tokens)

    def export_run(self, tokens: list[int], start: int) -> bytes | None:
        """Return the idle state of exactly these tokens, or None; ``start`` must be 0."""
        for slot, computed in self._idle.items():
            if start == 0 and not computed.adapters and computed.tokens == tokens:
                return self._memory.save_sequence(slot) or None
        return None

    def import_run(self, tokens: list[int], start: int, data: bytes) -> bool:
        """Add an exported state as an idle one; return False without room or if start is not 0."""
        if start != 0 or not self.has_free_slot or not self._evict_for(len(tokens)):
            return False
        slot = self._take_empty_slot()
        if not self._memory.restore_sequence(slot, data):
            self._free_slot(slot)
            return False
        self._idle[slot] = ComputedTokens(tokens, ())
        return True

    def _plan_checkpoints(self, seq: Sequence) -> None:
        policy = CheckpointPolicy(seq.tokens, seq.num_computed, self._message_ends)
        self._policies[slot_of(seq)] = policy

    def _longest_resume_point(self, tokens: list[int], adapters: AdapterSet) -> ResumePoint:
        """Return the longest state that a sequence with these tokens can continue."""
        running = {
            slot: ComputedTokens(seq.tokens[: seq.num_computed], seq.adapters)
            for slot, seq in self._sequences.items()
        }
        points = ResumePoints(
            idle=self._idle,
            running=running,
            checkpoints=self.checkpoints,
            has_cells=self._kind.has_cells,
        )
        return points.longest(ComputedTokens(tokens, adapters))

    def _num_shared(self, point: ResumePoint) -> int:
        """Return how many cells of running sequences a new one would share."""
        if point.slot is None or self._kind.has_window:
            return 0
        if point.slot in self._sequences:
            return point.length
        shared = (self._shared_cells.num_shared(point.slot, slot) for slot in self._sequences)
        return min(point.length, max(shared, default=0))

    def _num_committed(self) -> int:
        """Return the cells that running sequences use, or will use for the tokens they have."""
        lengths = {slot: len(seq.tokens) for slot, seq in self._sequences.items()}
        return self._shared_cells.num_distinct(lengths)

    def _slot_for(self, point: ResumePoint) -> int:
        """Return the slot in which a sequence that begins at a resume point runs.

        An idle slot with its cells is left intact, unless another one would lose more.
        """
        slot = point.slot
        if slot not in self._idle:
            return self._take_empty_slot()
        if point.checkpoint is not None and self._is_fork_cheaper(slot, point.length):
            return self._take_empty_slot()
        del self._idle[slot]
        return slot

    def _is_fork_cheaper(self, slot: int, length: int) -> bool:
        if self._free_slots:
            return True
        oldest, computed = next(iter(self._idle.items()))
        num_lost = len(self._idle[slot].tokens) - length  # by taking the slot over
        return oldest != slot and len(computed.tokens) < num_lost

    def _restore(self, slot: int, point: ResumePoint, seq: Sequence) -> bool:
        """Restore a checkpoint into a slot; on failure empty the slot and return False."""
        end = seq.position_at(point.length)
        data = self.checkpoints.use(point.checkpoint) if point.checkpoint else None
        if point.slot is not None and point.slot != slot:
            self._memory.copy_cells(point.slot, slot, 0, end)
            if not self._kind.has_window:
                self._shared_cells.fork(point.slot, slot, point.length)
        if data is None or not self._memory.restore_state(slot, data):
            self._remove_cells(slot)
            return False
        self._memory.remove_cells(slot, end, -1)
        self._shared_cells.truncate(slot, point.length)
        return True

    def _remove_cells(self, slot: int) -> None:
        self._memory.remove_cells(slot, 0, -1)
        self._shared_cells.truncate(slot, 0)

    def _free_slot(self, slot: int) -> None:
        self._remove_cells(slot)
        self._free_slots.append(slot)

    def _take_empty_slot(self) -> int:
        if not self._free_slots:
            self._evict_oldest()
        return self._free_slots.pop()

    def _evict_for(self, num_cells: int) -> bool:
        while (wanted := self.num_used_cells + num_cells) > self.supply.grow_to(wanted):
            if not self._idle:
                return False
            self._evict_oldest()
        return True

    def _evict_oldest(self) -> None:
        slot = next(iter(self._idle))
        del self._idle[slot]
        self._free_slot(slot)
