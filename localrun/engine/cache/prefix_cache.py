"""One prefix cache for all sequences, on cells that they share.

For models with full attention only: a cell may belong to many sequence ids there,
and `copy` costs microseconds. Ids below ``num_slots`` run, the next one is for copies out
and in; all others up to `MOST_HOLDERS` hold cached prefixes, one id for one node of the
radix tree.

    slot of a sequence    [ cells of the tree | its own cells ]
    positions             0          num_shared        num_computed

What one adapter set computed is not for another: each has a root of its own in the tree.

Law: the cells in use are those of the tree and each sequence's own. What a
sequence computes of its prompt joins the tree at once, the rest when it closes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from localrun.engine.cache.host_cache import BUDGET_BYTES
from localrun.engine.cache.idle_prefixes import Copies, IdlePrefixes
from localrun.engine.cache.radix import NO_HOLDER, RadixTree

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.engine.cache.radix import Match, Node
    from localrun.engine.sequence import Sequence

MOST_HOLDERS = 256  # LLAMA_MAX_SEQ: ids beyond n_seq_max cannot be decoded, but hold cells


class Cells(Copies, Protocol):
    """What a cache needs of a KV cache; positions are half-open, -1 is the end.

    Cells that nobody holds are free.
    """


class PrefixCache:
    """Slots and cells of running sequences, and the prefixes that ended ones left."""

    def __init__(
        self,
        cells: Cells,
        *,
        num_slots: int,
        num_cells: int,
        num_holders: int = MOST_HOLDERS,
        attic_bytes: int = BUDGET_BYTES,
    ) -> None:
        self.tree = RadixTree()
        self._cells = cells
        self._num_cells = num_cells
        self._open: dict[int, Sequence] = {}  # by slot
        self._paths: dict[int, Node] = {}  # by slot: the node down to which cells are shared
        self._idle = IdlePrefixes(self, cells, attic_bytes)
        self._free_slots = list(range(num_slots - 1, -1, -1))
        self.spare_slot = num_slots  # holds nothing between two calls
        self._free_holders = list(range(num_holders - 1, num_slots, -1))

    @property
    def has_slot(self) -> bool:
        """Return whether one more sequence can run."""
        return bool(self._free_slots)

    @property
    def num_used(self) -> int:
        """Return the number of cells that are not free."""
        own = sum(seq.num_computed - seq.num_shared for seq in self._open.values())
        return self.tree.num_cells + own

    def lead(self, leader: Sequence, seq: Sequence, length: int) -> bool:  # noqa: ARG002
        """Return whether the leader's first ``length`` tokens will spare this sequence work."""
        return self.tree.find(seq.tokens, length, self._root(seq)).length < length

    def open(self, seq: Sequence, spare: int) -> bool:
        """Give a slot and the longest cached prefix, if its tokens and ``spare`` cells fit.

        Cells that nobody uses count as room. The last token is never taken from the
        cache: its logits are needed. Nothing changes when it does not fit; alone, a
        sequence always fits.
        """
        if not seq.adapters:
            self.bring_back(seq.tokens[:-1])
        match = self.tree.find(seq.tokens, seq.most_shared, self._root(seq))
        node = self._whole(match)
        self.tree.use(node)
        missing = len(seq.tokens) - node.end + spare
        if self._open and self._promised() + missing > self._num_cells:
            self.tree.leave(node)
            return False
        self._idle.make_way()
        slot = self._free_slots.pop()
        for part in node.path():
            self._cells.copy(part.holder, slot, part.start, part.end)
        seq.slot, seq.num_computed, seq.num_shared = slot, node.end, node.end
        self._open[slot], self._paths[slot] = seq, node
        return True

    def next_stop(self, seq: Sequence) -> int:
        """Return the position where a row of the sequence has to end: that of its last token."""
        return len(seq.tokens)

    def rewind(self, seq: Sequence) -> None:
        """Do nothing: a step that was broken off leaves whole cells."""

    def publish(self, seq: Sequence) -> None:
        """Let others share what the sequence has computed."""
        slot = slot_of(seq)
        while (match := self._next(seq)).length > seq.num_shared:
            node = self._whole(match)
            if node.end == seq.num_shared:
                return  # no holder is left to split with
            self._swap(seq, node)
        tokens = seq.tokens[seq.num_shared : seq.num_computed]
        if not tokens:
            return
        node = self._paths[slot]
        if node.holder != NO_HOLDER and not node.children and node.num_users == 1:
            self.tree.extend(node, tokens)  # only this sequence uses it
        else:
            holder = self._new_holder()
            if holder is None:
                return
            node = self.tree.add(node, tokens, holder)
            self._follow(slot, node)
        self._cells.copy(slot, node.holder, seq.num_shared, seq.num_computed)
        seq.num_shared = seq.num_computed

    def close(self, seq: Sequence) -> None:
        """Take the slot back; what was computed stays as a cached prefix."""
        self.publish(seq)
        slot = slot_of(seq)
        node = self._paths.pop(slot)
        self.tree.leave(node)
        self._idle.note_latest(node)
        del self._open[slot]
        self._cells.remove(slot, 0, -1)
        self._free_slots.append(slot)
        seq.slot, seq.num_computed, seq.num_shared = None, 0, 0

    def reserve(self, count: int) -> bool:
        """Free ``count`` cells at the cost of cached prefixes, oldest first; False: too few.

        Called once for each step, which looks at idle cells for each of its tokens.
        """
        self._idle.pass_by(count)
        return self._make_room(count)

    def graft(self, tokens: list[int], start: int, load: Callable[[int], bool]) -> bool:
        """Keep cells from elsewhere for ``tokens[start:]``, behind a prefix that is cached.

        ``load`` puts them into a slot that is empty. False when it cannot, or there is no room.
        """
        node = self._whole(self.tree.find(tokens, len(tokens)))
        slot = self.spare_slot
        if node.end < start:
            return False
        if node.end == len(tokens):
            return True
        self.tree.use(node)  # lest it is evicted to make the room
        try:
            if not self._make_room(len(tokens) - start) or not load(slot):
                return False
            return self._hold(node, slot, tokens[node.end :])
        finally:
            self._cells.remove(slot, 0, -1)
            self.tree.leave(node)

    def tidy(self) -> bool:
        """Free cells that only cost looks, a few at a time, while nothing runs; False: all done."""
        return self._idle.tidy()

    def bring_back(self, tokens: list[int]) -> None:
        """Put what was moved out of the cells back, as far as ``tokens`` begin with it."""
        self._idle.bring_back(tokens)

    def prompts(self) -> list[list[int]]:
        """Return the tokens of all prefixes without adapters, longest unused first."""
        return self._idle.prompts()

    def cut(self, seq: Sequence) -> None:
        """Free the sequence's cells behind what counts as computed."""
        self._cells.remove(slot_of(seq), seq.num_computed, -1)

    def clear(self) -> None:
        """Forget all prefixes that nobody uses."""
        self._idle.clear()
        while (leaf := self.tree.oldest_idle_leaf()) is not None:
            self.shorten(leaf, len(leaf.tokens))

    def _hold(self, node: Node, slot: int, tokens: list[int]) -> bool:
        """Let a holder behind ``node`` hold what the slot has for ``tokens``."""
        start = node.end
        if node.holder != NO_HOLDER and not node.children and node.num_users == 1:
            self._cells.copy(slot, node.holder, start, start + len(tokens))
            self.tree.extend(node, tokens)
            return True
        holder = self._new_holder()
        if holder is None:
            return False
        self._cells.copy(slot, holder, start, start + len(tokens))
        self.tree.add(node, tokens, holder)
        return True

    def _make_room(self, count: int) -> bool:
        while (missing := self.num_used + count - self._num_cells) > 0:
            leaf = self.tree.oldest_idle_leaf()
            if leaf is None:
                return False
            self.shorten(leaf, min(missing, len(leaf.tokens)))
        return True

    def _promised(self) -> int:
        """Return the cells that open sequences use, or will for the tokens that they have."""
        own = sum(len(seq.tokens) - seq.num_shared for seq in self._open.values())
        return self.tree.num_cells - self.tree.num_idle + own

    def _root(self, seq: Sequence) -> Node:
        return self.tree.root_of(seq.adapters)

    def _next(self, seq: Sequence) -> Match:
        """Return the match of what the sequence computed but does not share."""
        return self.tree.find(seq.tokens, seq.num_computed, self._paths[slot_of(seq)])

    def _whole(self, match: Match) -> Node:
        """Return the node that ends where the match does, or before it without a free holder."""
        node, rest = match.node, match.partial
        if rest is None:
            return node
        self.tree.use(rest)  # lest it is evicted to get the holder
        holder = self._new_holder()
        self.tree.leave(rest)
        if holder is None:
            return node
        upper = self.tree.split(rest, match.num_partial, holder)
        self._cells.copy(rest.holder, upper.holder, upper.start, upper.end)
        self._cells.remove(rest.holder, upper.start, upper.end)
        return upper

    def _swap(self, seq: Sequence, node: Node) -> None:
        """Share the cells of nodes down to ``node`` in place of the sequence's own, equal ones."""
        slot = slot_of(seq)
        self._cells.remove(slot, seq.num_shared, node.end)
        for part in node.path():
            if part.end <= seq.num_shared:
                break
            self._cells.copy(part.holder, slot, part.start, part.end)
        self._follow(slot, node)
        seq.num_shared = node.end

    def _follow(self, slot: int, node: Node) -> None:
        """Move the use of a slot further down."""
        self.tree.use(node)
        self.tree.leave(self._paths[slot])
        self._paths[slot] = node

    def _new_holder(self) -> int | None:
        """Return a free id, if need be that of the oldest prefix; None when all are in use."""
        if not self._free_holders and (leaf := self.tree.oldest_idle_leaf()) is not None:
            self.shorten(leaf, len(leaf.tokens))
        return self._free_holders.pop() if self._free_holders else None

    def shorten(self, leaf: Node, count: int) -> None:
        """Free the last ``count`` cells of an idle leaf."""
        self._cells.remove(leaf.holder, leaf.end - count, -1)
        self.tree.shorten(leaf, count)
        if not leaf.tokens:
            self._free_holders.append(leaf.holder)


def slot_of(seq: Sequence) -> int:
    """Return the slot of a running sequence."""
    if seq.slot is None:
        raise ValueError(f"request {seq.request_id} does not run")
    return seq.slot
