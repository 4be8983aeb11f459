"""Cached prefixes: a radix tree and the KV cache cells of its nodes.

One sequence id of llama.cpp holds the cells of one node. Sequence ids from
``first_holder`` up to `MAX_SEQUENCE_IDS` are holders; the one before them is
``spare_slot``, which holds nothing between two calls.

Invariant: the cells of a holder are exactly the positions of its node.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.engine.cache.radix import NO_HOLDER, RadixTree
from localrun.engine.media.skipped_positions import NONE, SkippedPositions
from localrun.errors import BackendError
from localrun.prefixes import border_before

if TYPE_CHECKING:
    from localrun.engine.cache.kv_cache import KvMemory
    from localrun.engine.cache.radix import Match, Node

MAX_SEQUENCE_IDS = 256  # LLAMA_MAX_SEQ: ids beyond n_seq_max cannot be decoded, but hold cells


class CachedPrefixes:
    """Computed prefixes of all adapter sets, and the ids that hold their cells."""

    def __init__(
        self,
        memory: KvMemory,
        *,
        spare_slot: int,
        num_holders: int,
        skipped: SkippedPositions = NONE,
    ) -> None:
        """``num_holders`` is the end of the range of sequence ids."""
        self.tree = RadixTree(skipped)
        self.spare_slot = spare_slot
        self._memory = memory
        self._free_holders = list(range(num_holders - 1, spare_slot, -1))

    def node_for(self, match: Match) -> Node:
        """Return the node that ends where the match does, splitting one if necessary.

        Without a free holder it is the last whole node of the match.
        """
        node, partial = match.node, match.partial
        if partial is None:
            return node
        self.tree.use(partial)  # keep it from being evicted to free a holder
        holder = self._new_holder()
        self.tree.leave(partial)
        if holder is None:
            return node
        upper = self.tree.split(partial, match.num_partial, holder)
        start, end = self.positions(upper)
        self._memory.copy_cells(partial.holder, upper.holder, start, end)
        self._memory.remove_cells(partial.holder, start, end)
        return upper

    def append(self, node: Node, slot: int, tokens: list[int]) -> Node | None:
        """Add the cells that a slot holds for ``tokens`` behind ``node``, which is in use.

        Return the node that ends with them, or None without a free holder. A leaf with one
        user is extended; others get a child.
        """
        start = self.tree.position_at(node, node.end)
        if node.holder != NO_HOLDER and not node.children and node.num_users == 1:
            self.tree.extend(node, tokens)
        else:
            holder = self._new_holder()
            if holder is None:
                return None
            node = self.tree.add(node, tokens, holder)
        self._memory.copy_cells(slot, node.holder, start, self.tree.position_at(node, node.end))
        return node

    def shorten(self, leaf: Node, num_cells: int) -> None:
        """Free the last cells of an idle leaf, from a border of media on."""
        first = self.tree.position_at(leaf, leaf.end - num_cells)
        self._memory.remove_cells(leaf.holder, first, -1)
        self.tree.shorten(leaf, num_cells)
        if not leaf.tokens:
            self._free_holders.append(leaf.holder)

    def evict(self, num_cells: int) -> bool:
        """Free cells of the idle prefixes that were used longest ago; return False if too few."""
        while num_cells > 0:
            leaf = self.tree.oldest_idle_leaf()
            if leaf is None:
                return False
            num_kept = border_before(leaf.tokens, max(0, len(leaf.tokens) - num_cells))
            num_freed = len(leaf.tokens) - num_kept
            self.shorten(leaf, num_freed)
            num_cells -= num_freed
        return True

    def save(self, node: Node, start: int, end: int) -> bytes:
        """Return the cells [start, end) of the path down to ``node``, borders of media both."""
        for part in node.path():
            first, last = max(start, part.start), min(end, part.end)
            if first < last:
                places = (self.tree.position_at(part, first), self.tree.position_at(part, last))
                self._memory.copy_cells(part.holder, self.spare_slot, *places)
        data = self._memory.save_sequence(self.spare_slot)
        self._memory.remove_cells(self.spare_slot, 0, -1)
        return data

    def repack(self) -> None:
        """Move the cells of all nodes to the front, and return the memory behind them.

        No other sequence id may hold a cell.

        Raises:
            BackendError: llama.cpp does not restore what it saved.
        """
        nodes = sorted(self.tree.nodes, key=lambda node: node.start)
        saved = [(node, self.save(node, node.start, node.end)) for node in nodes]
        self._memory.clear()
        for node, data in saved:
            if not self._memory.restore_sequence(self.spare_slot, data):
                raise BackendError("llama.cpp does not restore the cells of a cached prefix")
            self._memory.copy_cells(self.spare_slot, node.holder, *self.positions(node))
            self._memory.remove_cells(self.spare_slot, 0, -1)

    def positions(self, node: Node) -> tuple[int, int]:
        """Return the positions [first, end) of a node's cells."""
        tree = self.tree
        return tree.position_at(node, node.start), tree.position_at(node, node.end)

    def _new_holder(self) -> int | None:
        """Return a free id, evicting the oldest idle leaf if necessary; None if all are in use."""
        if not self._free_holders and (leaf := self.tree.oldest_idle_leaf()) is not None:
            self.shorten(leaf, len(leaf.tokens))
        return self._free_holders.pop() if self._free_holders else None
