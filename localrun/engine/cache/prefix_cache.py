"""Prefix cache for models with full attention only: all sequences share cells.

With full attention a cell may belong to many sequence ids, and copying it from one to
another costs microseconds. Ids below ``num_slots`` run, the next one is the spare slot, the
others hold cached prefixes (`CachedPrefixes`).

    slot of a sequence    [ shared with the tree | its own cells ]
    positions             0          num_shared        num_computed

Each adapter set has a root of its own in the tree, since its cells differ.

Invariant: the cells in use are those of the tree and each sequence's own. The computed part
of a prompt joins the tree at once, the rest of a sequence when it is freed.

While sequences run in streams (`SwitchingCache`), the tree keeps the cached prefixes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.engine.cache.cached_prefixes import MAX_SEQUENCE_IDS, CachedPrefixes
from localrun.engine.cache.host_cache import BUDGET_BYTES
from localrun.engine.cache.idle_prefixes import IdlePrefixes
from localrun.engine.cache.kv_cache import CellLayout
from localrun.engine.media.skipped_positions import NONE, SkippedPositions
from localrun.engine.sequence import slot_of
from localrun.prefixes import border_before

if TYPE_CHECKING:
    from localrun.engine.cache.cell_supply import CellSupply
    from localrun.engine.cache.kv_cache import KvMemory, SavedCells
    from localrun.engine.cache.radix import Match, Node
    from localrun.engine.sequence import Sequence

# Flash attention on a processor takes tiles of tokens, and fewer tokens one after the other: 52
# tokens behind 1,024 take twice as long as 64 (measured on 0.6B). So a few cached tokens are
# computed again if so many tokens look at so many cells, all together.
LEAST_MISSING, MANY_LOOKS = 20, 24_000


class PrefixCache:
    """A `KvCache` of shared cells."""

    exports_whole_prompts = False
    layout = CellLayout.UNIFIED
    num_switches = 0

    def __init__(  # noqa: PLR0913 - keywords only
        self,
        memory: KvMemory,
        *,
        num_slots: int,
        supply: CellSupply,
        num_holders: int = MAX_SEQUENCE_IDS,
        host_cache_bytes: int = BUDGET_BYTES,
        skipped: SkippedPositions = NONE,
        tile_tokens: int = 0,
    ) -> None:
        """``tile_tokens`` of a prompt are computed together, fewer one after the other."""
        self._memory = memory
        self._tile_tokens = tile_tokens
        self.supply = supply
        self.num_stream_cells = 0  # of the same supply, in a context with streams
        self._prefixes = CachedPrefixes(
            memory, spare_slot=num_slots, num_holders=num_holders, skipped=skipped
        )
        self.tree = self._prefixes.tree
        self._idle = IdlePrefixes(self._prefixes, self.import_run, host_cache_bytes)
        self._sequences: dict[int, Sequence] = {}  # by slot
        self._shared_nodes: dict[int, Node] = {}  # by slot: ends at ``num_shared``
        self._free_slots = list(range(num_slots - 1, -1, -1))

    @property
    def running(self) -> list[Sequence]:
        """Return the sequences with a slot, the latest last."""
        return list(self._sequences.values())

    @property
    def has_free_slot(self) -> bool:
        """Return whether one more sequence can run."""
        return bool(self._free_slots)

    @property
    def num_used_cells(self) -> int:
        """Return the number of cells that are not free, cached prefixes included."""
        own = sum(seq.num_computed - seq.num_shared for seq in self._sequences.values())
        return self.tree.num_cells + own

    @property
    def num_pinned_cells(self) -> int:
        """Return the cells of cached prefixes that cannot be evicted, if no sequence has a slot."""
        return self.tree.num_cells - self.tree.num_idle

    def prepare_sharing(self, leader: Sequence, seq: Sequence, length: int) -> bool:  # noqa: ARG002
        """Return whether sharing the leader's first ``length`` tokens saves computation."""
        return self.tree.find(seq.tokens, length, self._root(seq)).length < length

    def allocate(self, seq: Sequence, num_spare: int) -> bool:
        """Assign a slot and the longest cached prefix, if tokens and spare cells fit.

        Cells of idle prefixes count as free. The last token is never taken from the cache,
        because its logits are needed.
        """
        node = self._prefixes.node_for(self._reused_prefix(seq))
        self.tree.use(node)
        num_missing = len(seq.tokens) - node.end
        wanted = self._num_committed() + num_missing + num_spare
        if self._sequences and wanted > self.supply.grow_to(wanted):
            self.tree.leave(node)
            return False
        self._idle.offload_before(num_missing)
        self._begin(seq, node)
        return True

    def resume(self, seq: Sequence) -> None:
        """Assign a slot and the longest cached prefix to a sequence that ran in a stream."""
        node = self._prefixes.node_for(self._cached_prefix(seq))
        self.tree.use(node)
        self._begin(seq, node)

    def adapt(self) -> None:
        """Do nothing: the layout never changes."""

    def chunk_end(self, seq: Sequence) -> int:
        """Return the position behind the last token: a chunk may end anywhere."""
        return len(seq.tokens)

    def reserve(self, num_cells: int) -> bool:
        """Free cells for a step, oldest cached prefixes first; return False if too few remain.

        The step's tokens count towards the age of idle prefixes.
        """
        self._idle.age_by(num_cells)
        if self.make_room(num_cells):
            return True
        if len(self._sequences) > 1:
            return False
        self.supply.grant(self.num_used_cells + num_cells)
        return self.make_room(num_cells)

    def publish(self, seq: Sequence) -> None:
        """Add the computed tokens to the tree, or share those that it already has."""
        slot = slot_of(seq)
        while (match := self._next_match(seq)).length > seq.num_shared:
            node = self._prefixes.node_for(match)
            if node.end == seq.num_shared:
                return  # no holder is left to split with
            self._share_instead(seq, node)
        num_whole = border_before(seq.tokens, seq.num_computed)
        tokens = seq.tokens[seq.num_shared : num_whole]
        if not tokens:
            return
        before = self._shared_nodes[slot]
        after = self._prefixes.append(before, slot, tokens)
        if after is None:
            return
        if after is not before:
            self._set_shared_node(slot, after)
        seq.num_shared = num_whole

    def truncate(self, seq: Sequence) -> None:
        """Free the sequence's cells behind ``num_computed``."""
        self._memory.remove_cells(slot_of(seq), seq.position_at(seq.num_computed), -1)

    def recover(self, seq: Sequence) -> None:
        """Do nothing: an aborted step leaves whole cells, and ``num_computed`` counts them."""

    def free(self, seq: Sequence) -> None:
        """Release the slot; the computed tokens stay as a cached prefix."""
        self.publish(seq)
        self._idle.set_latest(self._release(seq))

    def withdraw(self, seq: Sequence) -> SavedCells:
        """Release the slot and its part of the tree; return the cells, until the next call."""
        data = self._memory.borrow_sequence(slot_of(seq))
        node = self._release(seq)
        for part in list(node.path()):
            if part.children or part.num_users:
                break
            self._prefixes.shorten(part, len(part.tokens))
        return data

    def pin(self, seq: Sequence) -> tuple[Node, SavedCells]:
        """Release the slot; return the end of its cells in the tree, and them until the next call.

        No cell of the node is evicted until `unpin`.
        """
        self.publish(seq)
        slot = slot_of(seq)
        node = self._shared_nodes[slot]
        self.tree.use(node)
        data = self._memory.borrow_sequence(slot)
        self._release(seq)
        return node, data

    def unpin(self, node: Node) -> None:
        """Let the cells of a node be evicted again."""
        self.tree.leave(node)

    def num_stored(self, seq: Sequence) -> int:
        """Return how many first tokens of a sequence are cached."""
        return self._cached_prefix(seq).length

    def read_prefix(self, seq: Sequence, length: int) -> bytes:
        """Return the cells of the first ``length`` tokens, which must be cached."""
        match = self.tree.find(seq.tokens, length, self._root(seq))
        return self._prefixes.save(match.partial or match.node, 0, length)

    def store(self, seq: Sequence, length: int, start: int, data: SavedCells) -> None:
        """Add the cells of ``seq.tokens[start:length]`` as a cached prefix, see `import_run`.

        Without room for them they go to host memory.
        """
        tokens = seq.tokens[:length]
        if not self._add_cells(tokens, start, data, self._root(seq)) and not seq.adapters:
            self._idle.keep(tokens, start, bytes(data))

    def offload_idle(self) -> None:
        """Move idle prefixes to host memory, while that has room."""
        self._idle.offload_all()

    def age_by(self, num_tokens: int) -> None:
        """Count computed tokens towards the age of idle prefixes."""
        self._idle.age_by(num_tokens)

    def make_room(self, num_cells: int) -> bool:
        """Evict the oldest idle prefixes until so many cells are free; return False if too few."""
        wanted = self.num_used_cells + num_cells + self.num_stream_cells
        return self._prefixes.evict(wanted - self.supply.grow_to(wanted))

    def repack(self) -> None:
        """Return the memory of free cells; no sequence may have a slot."""
        self._idle.offload_all()
        self.make_room(0)  # beside the cells of streams
        self._prefixes.repack()

    def clear(self) -> None:
        """Drop all prefixes that no sequence uses."""
        self._idle.clear()
        while (leaf := self.tree.oldest_idle_leaf()) is not None:
            self._prefixes.shorten(leaf, len(leaf.tokens))

    def compact(self) -> bool:
        """Move one piece of an idle prefix out of the cells; return False if all is done."""
        return self._idle.compact()

    def cached_prompts(self) -> list[list[int]]:
        """Return the tokens of the longest cached prefixes without adapters, oldest use first."""
        return self._idle.cached_prompts()

    def num_cached_tokens(self, tokens: list[int]) -> int:
        """Return the length of the cached prefix of ``tokens``, without adapters."""
        self._idle.restore_prefix(tokens)
        return self.tree.find(tokens, len(tokens)).length

    def num_known_tokens(self, tokens: list[int]) -> int:
        """Return how many first tokens are cached."""
        return self.num_cached_tokens(tokens)

    def export_run(self, tokens: list[int], start: int) -> bytes | None:
        """Return the cells of ``tokens[start:]``, or None if not all tokens are cached."""
        self._idle.restore_prefix(tokens)
        match = self.tree.find(tokens, len(tokens))
        if match.length < len(tokens):
            return None
        return self._prefixes.save(match.partial or match.node, start, len(tokens)) or None

    def import_run(self, tokens: list[int], start: int, data: bytes) -> bool:
        """Add the cells of ``tokens[start:]`` to the tree, except those that it already has.

        Return False if there is no room, or if ``tokens[:start]`` is not cached.
        """
        return self._add_cells(tokens, start, data, self.tree.root)

    def _add_cells(self, tokens: list[int], start: int, data: SavedCells, root: Node) -> bool:
        node = self._prefixes.node_for(self.tree.find(tokens, len(tokens), root))
        slot = self._prefixes.spare_slot
        if node.end < start:
            return False
        if node.end == len(tokens):
            return True
        self.tree.use(node)  # keep it from being evicted to make room
        try:
            if not self.make_room(len(tokens) - start):
                return False
            if not self._memory.restore_sequence(slot, data):
                return False
            leaf = self._prefixes.append(node, slot, tokens[node.end :])
            if leaf is not None:
                self._idle.set_latest(leaf)
            return leaf is not None
        finally:
            self._memory.remove_cells(slot, 0, -1)
            self.tree.leave(node)

    def _num_committed(self) -> int:
        """Return the cells that running sequences use, or will use for the tokens they have."""
        own = sum(len(seq.tokens) - seq.num_shared for seq in self._sequences.values())
        return self.tree.num_cells - self.tree.num_idle + own

    def _root(self, seq: Sequence) -> Node:
        return self.tree.root_of(seq.adapters)

    def _cached_prefix(self, seq: Sequence) -> Match:
        """Return the longest cached prefix; its last token never is, as its logits are needed."""
        if not seq.adapters:
            self._idle.restore_prefix(seq.tokens[:-1])
        return self.tree.find(seq.tokens, seq.num_cacheable, self._root(seq))

    def _reused_prefix(self, seq: Sequence) -> Match:
        """Return the cached prefix to begin from: less than there is if a tile is then whole.

        Tokens of other sequences make tiles whole as well, so that is done for one alone.
        """
        match = self._cached_prefix(seq)
        num_missing = len(seq.tokens) - match.length
        is_slow = (
            LEAST_MISSING <= num_missing < self._tile_tokens
            and num_missing * match.length >= MANY_LOOKS
            and not self._sequences
            and seq.media is None
        )
        if not is_slow:
            return match
        return self.tree.find(seq.tokens, len(seq.tokens) - self._tile_tokens, self._root(seq))

    def _begin(self, seq: Sequence, node: Node) -> None:
        slot = self._free_slots.pop()
        for part in node.path():
            self._memory.copy_cells(part.holder, slot, *self._prefixes.positions(part))
        seq.slot, seq.num_computed, seq.num_shared = slot, node.end, node.end
        self._sequences[slot], self._shared_nodes[slot] = seq, node

    def _release(self, seq: Sequence) -> Node:
        """Free the slot and its own cells; return the end of those in the tree."""
        slot = slot_of(seq)
        node = self._shared_nodes.pop(slot)
        self.tree.leave(node)
        del self._sequences[slot]
        self._memory.remove_cells(slot, 0, -1)
        self._free_slots.append(slot)
        seq.slot, seq.num_computed, seq.num_shared = None, 0, 0
        return node

    def _next_match(self, seq: Sequence) -> Match:
        """Return the match of the computed tokens that the sequence does not share yet."""
        return self.tree.find(seq.tokens, seq.num_computed, self._shared_nodes[slot_of(seq)])

    def _share_instead(self, seq: Sequence, node: Node) -> None:
        """Replace the sequence's own cells by the equal ones of the path down to ``node``."""
        slot = slot_of(seq)
        first, end = seq.position_at(seq.num_shared), self.tree.position_at(node, node.end)
        self._memory.remove_cells(slot, first, end)
        for part in node.path():
            if part.end <= seq.num_shared:
                break
            self._memory.copy_cells(part.holder, slot, *self._prefixes.positions(part))
        self._set_shared_node(slot, node)
        seq.num_shared = node.end

    def _set_shared_node(self, slot: int, node: Node) -> None:
        """Move the use of a slot further down the tree."""
        self.tree.use(node)
        self.tree.leave(self._shared_nodes[slot])
        self._shared_nodes[slot] = node
