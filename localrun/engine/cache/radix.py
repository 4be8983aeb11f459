"""Radix tree over token ids: computed prefixes, and the holders of their cells.

Pure bookkeeping: it knows token ids and small integers named holders (llama.cpp's
sequence ids), not how cells are copied. Prefixes of different kinds (adapter sets) share
nothing: each kind has its own root, and all have one clock. One node is one run of tokens; a
holder belongs to exactly one node and holds the cells of that run alone:

    root -[ 0 1 2 3 ]- a -[ 4 5 ]- b        a holds positions [0, 4), b [4, 6)
                       a -[ 7 8 9 ]- c      c holds positions [4, 7)

A medium is a run of negative ids (`localrun.engine.media`), and nodes end at its borders only. In
models with M-RoPE an image has fewer positions than tokens, so that a node's first position may be
less than its start.

Invariant: a node has at least as many users as each of its children, since a use counts
for the whole path to the root. So nodes without users can be removed, leaves first, and
`num_idle` counts exactly the cells that `oldest_idle_leaf` will ever offer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from localrun.engine.media.skipped_positions import NONE, SkippedPositions
from localrun.prefixes import border_before, common_prefix_length

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence

NO_HOLDER = -1  # of a root, which has no tokens
MAX_ROOTS = 64  # beyond that, roots without children are removed


@dataclass(slots=True, eq=False)
class Node:
    """A run of tokens after the path of its parent; only the tree changes it."""

    parent: Node | None
    holder: int
    start: int  # index of its first token
    tokens: list[int]
    num_skipped: int = 0  # positions fewer than tokens before it
    children: dict[int, Node] = field(default_factory=dict)  # by their first token
    num_users: int = 0
    used_at: int = 0  # ticks of the tree's own clock

    @property
    def end(self) -> int:
        """Return the index behind its last token."""
        return self.start + len(self.tokens)

    def path(self) -> Iterator[Node]:
        """Yield the node and all above it, without the root."""
        node = self
        while node.parent is not None:
            yield node
            node = node.parent

    def prefix(self) -> list[int]:
        """Return all tokens from the root to the last token of the node."""
        runs = [part.tokens for part in self.path()]
        return [token for run in reversed(runs) for token in run]


@dataclass(frozen=True, slots=True)
class Match:
    """The longest known prefix: whole nodes down to ``node``, then a part of one more."""

    node: Node
    partial: Node | None  # child of ``node`` of which ``num_partial`` tokens match
    num_partial: int

    @property
    def length(self) -> int:
        """Return the number of tokens that match."""
        return self.node.end + self.num_partial


class RadixTree:
    """Nodes, their users and the order of their last use."""

    def __init__(self, skipped: SkippedPositions = NONE) -> None:
        self._skipped = skipped
        self._roots: dict[Hashable, Node] = {}
        self.num_cells = 0  # tokens of all nodes
        self.num_idle = 0  # those of nodes without users
        self._nodes: set[Node] = set()
        self._ticks = 0

    @property
    def root(self) -> Node:
        """Return the root of the plain kind."""
        return self.root_of(())

    def root_of(self, kind: Hashable) -> Node:
        """Return the root of the prefixes of a kind."""
        root = self._roots.get(kind)
        if root is None:
            if len(self._roots) >= MAX_ROOTS:
                # a removed root may still be in use: others merely cannot find its nodes
                kept = {known: node for known, node in self._roots.items() if node.children}
                self._roots = kept
            root = self._roots[kind] = Node(None, NO_HOLDER, 0, [])
        return root

    @property
    def nodes(self) -> frozenset[Node]:
        """Return all nodes except the roots."""
        return frozenset(self._nodes)

    def is_plain(self, node: Node) -> bool:
        """Return whether a node is below the root of the plain kind."""
        *_, top = node.path()
        return top.parent is self.root

    def position_at(self, node: Node, index: int) -> int:
        """Return the position in llama.cpp's memory of an index within a node, or of its end."""
        return self._skipped.position_at(node.tokens, index - node.start) + (
            node.start - node.num_skipped
        )

    def find(self, tokens: Sequence[int], limit: int, below: Node | None = None) -> Match:
        """Return the longest known prefix of ``tokens[:limit]``; it may end inside a node.

        It ends at a border of media.

        ``below`` is a node whose path is known to match already.
        """
        node = below or self.root
        while (position := node.end) < limit:
            child = node.children.get(tokens[position])
            if child is None:
                break
            num_matching = common_prefix_length(
                child.tokens, tokens[position : min(limit, child.end)]
            )
            if num_matching < len(child.tokens):
                num_whole = border_before(child.tokens, num_matching)
                return Match(node, child if num_whole else None, num_whole)
            node = child
        return Match(node, None, 0)

    def add(self, parent: Node, tokens: list[int], holder: int) -> Node:
        """Add a leaf below ``parent``, which has no child with the same first token."""
        num_skipped = parent.num_skipped + self._skipped.count(parent.tokens)
        node = Node(parent, holder, parent.end, tokens, num_skipped)
        parent.children[tokens[0]] = node
        self._nodes.add(node)
        self._count(node, len(tokens))
        self._touch(node)
        return node

    def extend(self, leaf: Node, tokens: list[int]) -> None:
        """Append tokens to the run of a leaf."""
        leaf.tokens += tokens
        self._count(leaf, len(tokens))
        self._touch(leaf)

    def split(self, node: Node, length: int, holder: int) -> Node:
        """Move the first ``length`` tokens into a new parent with ``holder``; return the parent.

        Users of the node are users of both.
        """
        upper = Node(node.parent, holder, node.start, node.tokens[:length], node.num_skipped)
        node.num_skipped += self._skipped.count(upper.tokens)
        upper.num_users, upper.used_at = node.num_users, node.used_at
        if node.parent is not None:
            node.parent.children[upper.tokens[0]] = upper
        node.tokens = node.tokens[length:]
        node.start += length
        node.parent = upper
        upper.children[node.tokens[0]] = node
        self._nodes.add(upper)
        return upper

    def shorten(self, leaf: Node, count: int) -> None:
        """Remove the last ``count`` tokens of an idle leaf, and the leaf with its last token."""
        first = leaf.tokens[0]
        del leaf.tokens[len(leaf.tokens) - count :]
        self._count(leaf, -count)
        if not leaf.tokens and leaf.parent is not None:
            del leaf.parent.children[first]
            self._nodes.discard(leaf)

    def use(self, node: Node) -> None:
        """Count one more user for the path down to ``node``."""
        for above in node.path():
            if above.num_users == 0:
                self.num_idle -= len(above.tokens)
            above.num_users += 1
        self._touch(node)

    def leave(self, node: Node) -> None:
        """Undo one `use`."""
        self._touch(node)
        for above in node.path():
            above.num_users -= 1
            if above.num_users == 0:
                self.num_idle += len(above.tokens)

    def oldest_idle_leaf(self, besides: Node | None = None) -> Node | None:
        """Return the leaf without users that was used longest ago, or None."""
        leaves = (node for node in self._nodes if not node.children and node is not besides)
        idle = (node for node in leaves if node.num_users == 0)
        return min(idle, key=lambda node: node.used_at, default=None)

    def tick(self, count: int) -> None:
        """Advance the clock by which `age` counts."""
        self._ticks += count

    @property
    def now(self) -> int:
        """Return the ticks of the clock."""
        return self._ticks

    def age(self, node: Node) -> int:
        """Return the ticks since the node was used."""
        return self._ticks - node.used_at

    def _count(self, node: Node, change: int) -> None:
        self.num_cells += change
        if node.num_users == 0:
            self.num_idle += change

    def _touch(self, node: Node) -> None:
        self._ticks += 1
        for above in node.path():
            above.used_at = self._ticks
