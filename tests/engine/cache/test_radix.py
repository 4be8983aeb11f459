"""The radix tree against a model that keeps every prefix in a list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from localrun.engine.cache import radix
from localrun.engine.cache.radix import Node, RadixTree
from localrun.prefixes import common_prefix_length

if TYPE_CHECKING:
    import pytest

runs = st.lists(st.integers(0, 2), min_size=1, max_size=12)


def insert(tree: RadixTree, tokens: list[int], holder: int) -> Node:
    """Let the tree know ``tokens``; return the node at which they end."""
    match = tree.find(tokens, len(tokens))
    node = match.node
    if match.partial is not None:
        node = tree.split(match.partial, match.num_partial, holder)
    rest = tokens[node.end :]
    return tree.add(node, rest, holder + 1) if rest else node


def spelled(node: Node) -> list[int]:
    """Return all tokens down to a node."""
    parts = [part.tokens for part in node.path()]
    return [token for part in reversed(parts) for token in part]


def check(tree: RadixTree) -> None:
    """Every law of the tree's structure."""
    nodes = tree.nodes
    assert tree.num_cells == sum(len(node.tokens) for node in nodes)
    assert tree.num_idle == sum(len(node.tokens) for node in nodes if not node.num_users)
    for node in nodes:
        assert node.tokens
        assert node.parent is not None
        assert node.parent is tree.root or node.parent in nodes
        assert node.parent.children[node.tokens[0]] is node
        assert node.start == node.parent.end
        assert node.parent is tree.root or node.parent.num_users >= node.num_users
        assert node.parent is tree.root or node.parent.used_at >= node.used_at
    assert len({node.holder for node in nodes}) == len(nodes)


@given(runs, runs)
def test_the_common_length_is_that_of_a_plain_loop(first: list[int], second: list[int]) -> None:
    expected = 0
    while expected < min(len(first), len(second)) and first[expected] == second[expected]:
        expected += 1

    assert common_prefix_length(first, second) == expected


@given(st.lists(runs, max_size=12), runs, st.integers(0, 12))
def test_find_gives_the_longest_prefix_of_anything_inserted(
    inserted: list[list[int]], wanted: list[int], limit: int
) -> None:
    tree = RadixTree()
    for number, tokens in enumerate(inserted):
        assert spelled(insert(tree, tokens, 2 * number)) == tokens
        check(tree)

    match = tree.find(wanted, min(limit, len(wanted)))

    lengths = [common_prefix_length(wanted[:limit], tokens) for tokens in inserted]
    assert match.length == max(lengths, default=0)
    assert spelled(match.node) == wanted[: match.node.end]


@settings(max_examples=200)
@given(st.lists(st.tuples(runs, st.booleans()), max_size=12), st.data())
def test_what_is_used_stays_and_all_else_goes_oldest_first(
    inserted: list[tuple[list[int], bool]], data: st.DataObject
) -> None:
    tree = RadixTree()
    used: list[Node] = []
    for number, (tokens, is_used) in enumerate(inserted):
        node = insert(tree, tokens, 2 * number)
        if is_used:
            tree.use(node)
            used.append(node)
        check(tree)
    texts = [spelled(node) for node in used]

    while (leaf := tree.oldest_idle_leaf()) is not None:
        others = [node for node in tree.nodes if not node.children and not node.num_users]
        assert all(leaf.used_at <= other.used_at for other in others)
        tree.shorten(leaf, data.draw(st.integers(1, len(leaf.tokens))))
        check(tree)

    assert tree.num_idle == 0
    assert all(tree.find(tokens, len(tokens)).length == len(tokens) for tokens in texts)
    for node in used:
        tree.leave(node)
    assert tree.num_idle == tree.num_cells


@given(runs, runs)
def test_extending_a_leaf_is_inserting_the_whole(first: list[int], second: list[int]) -> None:
    tree = RadixTree()
    leaf = insert(tree, first, 0)

    tree.extend(leaf, second)

    check(tree)
    assert tree.nodes == {leaf}
    both = [*first, *second]
    assert tree.find(both, len(both)).length == len(both)


def test_kinds_share_nothing_and_those_without_prefixes_take_no_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(radix, "MAX_ROOTS", 4)
    tree = RadixTree()
    tree.add(tree.root_of("mine"), [1, 2, 3], 1)

    for number in range(30):
        assert tree.find([1, 2, 3], 3, tree.root_of(number)).length == 0

    assert tree.find([1, 2, 3], 3, tree.root_of("mine")).length == 3
    assert len(tree._roots) <= 4
    assert tree.oldest_idle_leaf() is not None
