"""What to do with prefixes that nobody uses: leave them in cells, move them out, or drop them.

They come back from the `HostPrefixCache` when a prompt begins with them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from localrun.engine.cache.host_cache import HostPrefix, HostPrefixCache
from localrun.engine.cache.radix import common_length

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.engine.cache.radix import Node, RadixTree

# A cell that nobody uses costs each computed token a look (0.03 to 0.1 microseconds, measured
# on models of 6 to 600 million parameters), moving it out and in again as much as hundreds of
# these, and computing its token anew as much as thousands. So it is moved out, or dropped when
# there is no room for it elsewhere, when keeping has cost as much as that.
KEPT_LOOKS = 256
KEPT_LOOKS_AT_LAST = 8000
LOOKS_BETWEEN_CHECKS = 32
MOST_PIECES_AT_ONCE = 16  # some 50 ms: a request that comes just then waits for them
LEAST_MATCH = 16  # first tokens of a piece that a longer prompt must have before it comes back


class Tenants(Protocol):
    """What is needed of the prefix cache."""

    tree: RadixTree
    spare_slot: int

    def graft(self, tokens: list[int], start: int, load: Callable[[int], bool]) -> bool:
        """Keep cells from elsewhere for ``tokens[start:]``; False when it cannot."""

    def shorten(self, leaf: Node, count: int) -> None:
        """Free the last ``count`` cells of an idle leaf."""


class Copies(Protocol):
    """What is needed of a KV cache."""

    def copy(self, source: int, target: int, start: int, end: int) -> None:
        """Let ``target`` hold the cells of ``source`` too."""

    def remove(self, holder: int, start: int, end: int) -> None:
        """Let ``holder`` hold them no more."""

    def save(self, slot: int) -> bytes:
        """Return what a slot holds."""

    def restore(self, slot: int, data: bytes) -> bool:
        """Put it into an empty slot; False when it cannot."""


class IdlePrefixes:
    """The age of idle prefixes, and the attic of one prefix cache."""

    def __init__(self, cache: Tenants, cells: Copies, attic_bytes: int) -> None:
        self._cache = cache
        self._cells = cells
        self._attic = HostPrefixCache(attic_bytes)
        self._num_unchecked = 0  # computed tokens since the last look for idle cells
        self._latest: Node | None = None
        self._has_gaps = False  # cells were freed that others lie behind

    def pass_by(self, count: int) -> None:
        """Let ``count`` computed tokens look at the idle cells."""
        self._cache.tree.tick(count)
        self._num_unchecked += count
        if self._num_unchecked >= LOOKS_BETWEEN_CHECKS:
            self._num_unchecked = 0
            self._clear_idle()

    def make_way(self) -> None:
        """Move one piece out while a sequence begins.

        Later is dearer: new cells are put behind the idle ones, and there they stay when these
        are gone, so that each token still looks at the gap.
        """
        leaf = self._cache.tree.oldest_idle_leaf()
        if leaf is not None:
            self._move_out(leaf, pushes=False)

    def tidy(self) -> bool:
        """Move one piece out while nothing runs; False when all is done.

        The latest prefix stays, which is likely to be asked for next, but goes to the front:
        a token looks at all cells up to the last one in use.
        """
        leaf = self._cache.tree.oldest_idle_leaf(besides=self._latest)
        if leaf is not None:
            return self._move_out(leaf, pushes=False)
        if self._has_gaps:
            self._move_to_front()
        return False

    def note_latest(self, node: Node) -> None:
        """Remember the end of the prefix that was used last."""
        self._latest = node

    def bring_back(self, tokens: list[int]) -> None:
        """Put what was moved out of the cells back, as far as ``tokens`` begin with it."""
        while True:
            length = self._cache.tree.find(tokens, len(tokens)).length
            piece = self._attic.take(tokens, length)
            if piece is None:
                return
            is_wanted = common_length(piece.tokens, tokens) >= min(
                len(piece.tokens), len(tokens), piece.start + LEAST_MATCH
            )
            if not is_wanted or not self._put_back(piece):
                self._attic.put(piece)
                return

    def prompts(self) -> list[list[int]]:
        """Return the tokens of all prefixes without adapters, longest unused first."""
        leaves = [node for node in self._cache.tree.nodes if not node.children]
        leaves = [leaf for leaf in leaves if self._cache.tree.is_plain(leaf)]
        leaves.sort(key=lambda leaf: leaf.used_at)
        return self._attic.prompts() + [leaf.prefix() for leaf in leaves]

    def clear(self) -> None:
        """Forget what was moved out."""
        self._attic.clear()

    def _clear_idle(self) -> None:
        """Take the end of the longest unused prefix out of the cells, if its time has come."""
        leaf = self._cache.tree.oldest_idle_leaf()
        age = self._cache.tree.age(leaf) if leaf is not None else 0
        if leaf is None or age <= KEPT_LOOKS:
            return
        is_last_call = age > KEPT_LOOKS_AT_LAST
        if not self._move_out(leaf, pushes=is_last_call) and is_last_call:
            self._cache.shorten(leaf, len(leaf.tokens))

    @property
    def _has_stale(self) -> bool:
        """Return whether what came to the attic first is worth less than what is in cells."""
        oldest_at = self._attic.oldest_at
        return oldest_at is not None and self._cache.tree.now - oldest_at > KEPT_LOOKS_AT_LAST

    def _move_out(self, leaf: Node, *, pushes: bool) -> bool:
        """Move the end of a leaf to the attic; ``pushes`` others out when that is full."""
        has_room = self._attic.has_room or self._has_stale
        if not (pushes or has_room) or not self._cache.tree.is_plain(leaf):
            return False
        count = min(self._attic.piece_tokens, len(leaf.tokens))
        start, slot = leaf.end - count, self._cache.spare_slot
        self._cells.copy(leaf.holder, slot, start, leaf.end)
        data = self._cells.save(slot)
        self._cells.remove(slot, 0, -1)
        self._attic.put(HostPrefix(leaf.prefix(), start, data, self._cache.tree.now))
        self._cache.shorten(leaf, count)
        self._has_gaps = True
        return True

    def _move_to_front(self) -> None:
        """Take the prefix that is left in cells out and put it back, where that is quick."""
        self._has_gaps = False
        leaf = self._cache.tree.oldest_idle_leaf()
        prefix = leaf.prefix() if leaf is not None else []
        if len(prefix) > MOST_PIECES_AT_ONCE * self._attic.piece_tokens:
            return
        while leaf is not None and self._move_out(leaf, pushes=False):
            leaf = self._cache.tree.oldest_idle_leaf()
        self.bring_back(prefix)
        self._latest = self._cache.tree.find(prefix, len(prefix)).node
        self._has_gaps = False

    def _put_back(self, piece: HostPrefix) -> bool:
        return self._cache.graft(
            piece.tokens, piece.start, lambda slot: self._cells.restore(slot, piece.data)
        )
