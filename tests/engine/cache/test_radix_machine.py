"""The radix tree in any order of use, against sets that hold every prefix by itself."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from localrun.engine.cache.radix import Node, RadixTree
from tests.engine.cache.test_radix import runs, spelled

KINDS = ("plain", "a", "b")
Prefix = tuple[str, tuple[int, ...]]


def prefixes(kind: str, tokens: list[int]) -> set[Prefix]:
    return {(kind, tuple(tokens[:length])) for length in range(1, len(tokens) + 1)}


class Machine(RuleBasedStateMachine):
    """Insert, use, leave and evict."""

    def __init__(self) -> None:
        super().__init__()
        self.tree = RadixTree()
        self.known: set[Prefix] = set()
        self.used: list[tuple[Node, set[Prefix]]] = []
        self.num_holders = 0

    @rule(kind=st.sampled_from(KINDS), tokens=runs, is_used=st.booleans())
    def insert(self, kind: str, tokens: list[int], is_used: bool) -> None:  # noqa: FBT001 - a parameter of the rule
        node = self._ending(kind, tokens)
        self.known |= prefixes(kind, tokens)
        assert spelled(node) == tokens
        if is_used:
            self.tree.use(node)
            self.used.append((node, prefixes(kind, tokens)))

    @precondition(lambda self: self.used)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        node, _ = self.used.pop(data.draw(st.integers(0, len(self.used) - 1)))
        self.tree.leave(node)

    @rule(data=st.data())
    def evict(self, data: st.DataObject) -> None:
        leaf = self.tree.oldest_idle_leaf()
        assert (leaf is None) == (not self._idle())
        if leaf is None:
            return
        (kind,) = (one for one in KINDS if self.tree.root_of(one) is self._root(leaf))
        count = data.draw(st.integers(1, len(leaf.tokens)))
        path = spelled(leaf)
        gone = prefixes(kind, path) - prefixes(kind, path[: len(path) - count])
        assert gone <= self._idle()
        self.tree.shorten(leaf, count)
        self.known -= gone

    @rule(kind=st.sampled_from(KINDS), tokens=runs, limit=st.integers(0, 12))
    def find(self, kind: str, tokens: list[int], limit: int) -> None:
        match = self.tree.find(tokens, min(limit, len(tokens)), self.tree.root_of(kind))

        known = (len(one) for _, one in prefixes(kind, tokens[:limit]) & self.known)
        assert match.length == max(known, default=0)

    @invariant()
    def counts_are_right(self) -> None:
        assert self.tree.num_cells == len(self.known)
        assert self.tree.num_idle == len(self._idle())
        assert all(node.end == len(spelled(node)) for node in self.tree.nodes)

    def _idle(self) -> set[Prefix]:
        return self.known.difference(*(used for _, used in self.used))

    def _ending(self, kind: str, tokens: list[int]) -> Node:
        """Return the node that ends where the tokens do, made if need be."""
        self.num_holders += 2
        match = self.tree.find(tokens, len(tokens), self.tree.root_of(kind))
        node = match.node
        if match.partial is not None:
            node = self.tree.split(match.partial, match.num_partial, self.num_holders)
        rest = tokens[node.end :]
        if not rest:
            return node
        is_free = node.parent is not None and not node.children and not node.num_users
        if is_free:
            self.tree.extend(node, rest)
            return node
        return self.tree.add(node, rest, self.num_holders + 1)

    def _root(self, node: Node) -> Node:
        *_, top = node.path()
        assert top.parent is not None
        return top.parent


Machine.TestCase.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, derandomize=True
)
TestRadix = Machine.TestCase
