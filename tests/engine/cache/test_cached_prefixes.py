"""Cached prefixes on the fake backend: every holder has the cells of its node alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from localrun.engine.cache.cached_prefixes import CachedPrefixes
from tests.engine.cells import Cell, FakeBackend

if TYPE_CHECKING:
    from localrun.engine.cache.radix import Node

SLOT, SPARE_SLOT = 0, 1
PROMPT = [1, 2, 3, 4]


class Prefixes(CachedPrefixes):
    """Cached prefixes whose cells can be compared with the tree."""

    def __init__(self, num_holders: int) -> None:
        self.backend = FakeBackend(num_cells=64)
        super().__init__(self.backend, spare_slot=SPARE_SLOT, num_holders=num_holders)

    def add(self, tokens: list[int]) -> Node | None:
        """Compute tokens in a slot and append those that are not cached yet."""
        self.backend.holders[SLOT] = {position: Cell(position) for position in range(len(tokens))}
        node = self.node_for(self.tree.find(tokens, len(tokens)))
        self.tree.use(node)
        added = self.append(node, SLOT, tokens[node.end :])
        self.tree.leave(node)
        self.backend.remove_cells(SLOT, 0, -1)
        self.check()
        return added

    def check(self) -> None:
        cells = {holder: sorted(held) for holder, held in self.backend.holders.items()}
        nodes = {node.holder: list(range(node.start, node.end)) for node in self.tree.nodes}
        assert cells == nodes


def test_a_longer_prompt_extends_a_leaf_and_a_fork_splits_it() -> None:
    prefixes = Prefixes(num_holders=8)

    first = prefixes.add(PROMPT)
    longer = prefixes.add([*PROMPT, 5])
    fork = prefixes.add([1, 2, 9])

    assert first is longer is not fork
    assert fork is not None
    assert fork.prefix() == [1, 2, 9]
    assert prefixes.tree.num_cells == 6


def test_without_a_free_holder_the_oldest_idle_leaf_is_evicted() -> None:
    prefixes = Prefixes(num_holders=4)  # two, behind the slot and the spare slot

    added = [prefixes.add([number] * 4) for number in (1, 2, 3)]

    assert None not in added
    assert prefixes.tree.find([1] * 4, 4).length == 0
    assert prefixes.tree.find([2] * 4, 4).length == 4


def test_a_prefix_in_use_keeps_its_holder() -> None:
    prefixes = Prefixes(num_holders=3)
    used = prefixes.add(PROMPT)
    assert used is not None
    prefixes.tree.use(used)

    assert prefixes.add([7, 8]) is None
    assert not prefixes.evict(1)


@pytest.mark.parametrize(("num_cells", "num_left"), [(0, 4), (1, 3), (4, 0)])
def test_eviction_frees_no_more_cells_than_needed(num_cells: int, num_left: int) -> None:
    prefixes = Prefixes(num_holders=3)
    prefixes.add(PROMPT)

    assert prefixes.evict(num_cells)
    assert prefixes.tree.num_cells == num_left
    prefixes.check()


def test_a_saved_run_leaves_the_spare_slot_empty() -> None:
    prefixes = Prefixes(num_holders=8)
    prefixes.add(PROMPT)
    fork = prefixes.add([1, 2, 9])
    assert fork is not None

    data = prefixes.save(fork, 1, 3)
    prefixes.check()

    prefixes.backend.restore_sequence(SPARE_SLOT, data)
    assert sorted(prefixes.backend.holders[SPARE_SLOT]) == [1, 2]
