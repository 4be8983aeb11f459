"""Offloading of idle prefixes: which stay in cells, move to host memory, or are dropped.

Offloaded prefixes return from the `HostPrefixCache` when a prompt begins with them. Prefixes
that were computed with adapters are never offloaded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.engine.cache.host_cache import HostPrefix, HostPrefixCache
from localrun.prefixes import border_before, common_prefix_length

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.engine.cache.cached_prefixes import CachedPrefixes
    from localrun.engine.cache.radix import Node

# Attention reads every cell up to the last one in use, so an idle cell costs each computed token
# 0.03 to 0.1 microseconds (measured on models of 6 to 600 million parameters). Moving a cell out
# and in again costs as much as hundreds of these reads, computing its token anew as much as
# thousands. A cell is offloaded, or dropped without room in host memory, once the reads since its
# last use have cost as much. Ages are counted in computed tokens.
OFFLOAD_AGE_TOKENS = 256
DROP_AGE_TOKENS = 8000
CHECK_INTERVAL_TOKENS = 32
MAX_MOVED_PIECES = 16  # about 50 ms: a request that arrives meanwhile has to wait
MIN_MATCH_TOKENS = 16  # of a piece, that a longer prompt must begin with to restore the piece


class IdlePrefixes:
    """Ages of idle prefixes, and the host prefix cache of one `PrefixCache`."""

    def __init__(
        self,
        prefixes: CachedPrefixes,
        import_run: Callable[[list[int], int, bytes], bool],
        host_cache_bytes: int,
    ) -> None:
        """``import_run`` adds cells to the cache, see `KvCache.import_run`."""
        self._prefixes = prefixes
        self._tree = prefixes.tree
        self._import_run = import_run
        self._host_cache = HostPrefixCache(host_cache_bytes)
        self._num_unchecked = 0  # computed tokens since the last check
        self._latest: Node | None = None
        self._has_gaps = False  # cells were freed in front of others in use

    def age_by(self, num_tokens: int) -> None:
        """Age idle prefixes by a number of computed tokens; offload the oldest if it is due."""
        self._tree.tick(num_tokens)
        self._num_unchecked += num_tokens
        if self._num_unchecked >= CHECK_INTERVAL_TOKENS:
            self._num_unchecked = 0
            self._offload_if_due()

    def offload_before(self, num_tokens: int) -> None:
        """Offload the oldest idle prefixes before a sequence computes so many tokens.

        Later would cost more: new cells are placed behind idle ones, and stay there when the
        idle ones are gone, so that each token still reads across the gap. A prompt is slower by
        8 % for each 1,000 idle cells, so that the longer it is, the more may move.
        """
        for _ in range(1 + num_tokens // CHECK_INTERVAL_TOKENS):
            leaf = self._tree.oldest_idle_leaf()
            if leaf is None or not self._offload(leaf, may_evict=False):
                return

    def offload_all(self) -> None:
        """Offload idle prefixes while host memory has room."""
        leaf = self._tree.oldest_idle_leaf()
        while leaf is not None and self._offload(leaf, may_evict=False):
            leaf = self._tree.oldest_idle_leaf()

    def keep(self, tokens: list[int], start: int, data: bytes) -> None:
        """Keep the cells of ``tokens[start:]`` in host memory."""
        self._host_cache.put(HostPrefix(tokens, start, data, self._tree.now))

    def compact(self) -> bool:
        """Offload one piece while no sequence runs; return False if all is done.

        The latest prefix, which the next request is likely to begin with, stays in cells but
        moves to the front.
        """
        leaf = self._tree.oldest_idle_leaf(besides=self._latest)
        if leaf is not None:
            return self._offload(leaf, may_evict=False)
        if self._has_gaps:
            self._move_to_front()
        return False

    def set_latest(self, node: Node) -> None:
        """Set the end of the prefix that was used last."""
        self._latest = node

    def restore_prefix(self, tokens: list[int]) -> None:
        """Restore the offloaded pieces that ``tokens`` begin with."""
        while True:
            length = self._tree.find(tokens, len(tokens)).length
            piece = self._host_cache.take(tokens, length)
            if piece is None:
                return
            is_wanted = common_prefix_length(piece.tokens, tokens) >= min(
                len(piece.tokens), len(tokens), piece.start + MIN_MATCH_TOKENS
            )
            if not is_wanted or not self._import_run(piece.tokens, piece.start, piece.data):
                self._host_cache.put(piece)
                return

    def cached_prompts(self) -> list[list[int]]:
        """Return the tokens of all prefixes without adapters, oldest use first."""
        leaves = [node for node in self._tree.nodes if not node.children]
        leaves = [leaf for leaf in leaves if self._tree.is_plain(leaf)]
        leaves.sort(key=lambda leaf: leaf.used_at)
        return self._host_cache.prompts() + [leaf.prefix() for leaf in leaves]

    def clear(self) -> None:
        """Drop all offloaded prefixes."""
        self._host_cache.clear()

    def _offload_if_due(self) -> None:
        """Offload or drop the end of the oldest idle prefix if it is old enough."""
        leaf = self._tree.oldest_idle_leaf()
        age = self._tree.age(leaf) if leaf is not None else 0
        if leaf is None or age <= OFFLOAD_AGE_TOKENS:
            return
        must_leave = age > DROP_AGE_TOKENS
        if not self._offload(leaf, may_evict=must_leave) and must_leave:
            self._prefixes.shorten(leaf, len(leaf.tokens))

    @property
    def _has_stale_piece(self) -> bool:
        """Return whether the oldest piece in host memory is worth less than one in cells."""
        offloaded_at = self._host_cache.oldest_offloaded_at
        return offloaded_at is not None and self._tree.now - offloaded_at > DROP_AGE_TOKENS

    def _offload(self, leaf: Node, *, may_evict: bool) -> bool:
        """Move the end of a leaf to host memory; return False if it stays.

        ``may_evict``: other pieces may be dropped if host memory is full.
        """
        has_room = self._host_cache.has_room or self._has_stale_piece
        if not (may_evict or has_room) or not self._tree.is_plain(leaf):
            return False
        num_cells = min(self._host_cache.piece_tokens, len(leaf.tokens))
        start = leaf.start + border_before(leaf.tokens, len(leaf.tokens) - num_cells)
        data = self._prefixes.save(leaf, start, leaf.end)
        self._host_cache.put(HostPrefix(leaf.prefix(), start, data, self._tree.now))
        self._prefixes.shorten(leaf, leaf.end - start)
        self._has_gaps = True
        return True

    def _move_to_front(self) -> None:
        """Offload and restore the prefix that is left in cells, if that takes little time."""
        self._has_gaps = False
        leaf = self._tree.oldest_idle_leaf()
        prefix = leaf.prefix() if leaf is not None else []
        if len(prefix) > MAX_MOVED_PIECES * self._host_cache.piece_tokens:
            return
        while leaf is not None and self._offload(leaf, may_evict=False):
            leaf = self._tree.oldest_idle_leaf()
        self.restore_prefix(prefix)
        self._latest = self._tree.find(prefix, len(prefix)).node
        self._has_gaps = False
