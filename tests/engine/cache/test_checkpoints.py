from __future__ import annotations

import pytest

from localrun.engine.cache.checkpoints import Checkpoint, Checkpoints, budget_for
from localrun.engine.llama.lora_adapters import AdapterFile

ADAPTERS = ((AdapterFile("a", 1, 1), 1.0),)


def of(length: int, first: int = 0) -> Checkpoint:
    return Checkpoint(tuple(range(first, first + length)), ())


def copy(num_bytes: int) -> memoryview:
    return memoryview(b"x" * num_bytes)


def test_those_that_a_prompt_begins_with_are_found_longest_first() -> None:
    checkpoints = Checkpoints(1000)
    for one in (of(3), of(9), of(5), of(5, first=1), Checkpoint((0, 1), ADAPTERS)):
        checkpoints.add(one, copy(10))

    assert [one.length for one in checkpoints.find([*range(8)], ())] == [5, 3]
    assert [one.length for one in checkpoints.find([*range(9)], ())] == [9, 5, 3]
    assert [one.length for one in checkpoints.find([*range(9)], ADAPTERS)] == [2]
    assert list(checkpoints.find([0, 1, 7, 3, 4], ())) == []


def test_the_one_used_longest_ago_goes_when_the_budget_is_spent() -> None:
    checkpoints = Checkpoints(100)
    for length in (1, 2, 3):
        checkpoints.add(of(length), copy(30))
    assert checkpoints.use(of(1)) == copy(30)

    checkpoints.add(of(4), copy(30))

    assert checkpoints.use(of(2)) is None
    assert [one.length for one in checkpoints.find([*range(9)], ())] == [4, 3, 1]
    assert checkpoints.num_bytes == 90


@pytest.mark.parametrize(
    ("weight_bytes", "expected"),
    [(1, 64 * 2**20), (2**30, 2**28), (70 * 2**30, 512 * 2**20)],
)
def test_the_budget_grows_with_the_weights(weight_bytes: int, expected: int) -> None:
    assert budget_for(weight_bytes) == expected


def test_one_that_is_larger_than_the_budget_pushes_nothing_out() -> None:
    checkpoints = Checkpoints(100)
    checkpoints.add(of(1), copy(60))

    checkpoints.add(of(2), copy(101))

    assert checkpoints.use(of(2)) is None
    assert checkpoints.num_bytes == 60
    checkpoints.clear()
    assert (checkpoints.num_bytes, checkpoints.use(of(1))) == (0, None)
