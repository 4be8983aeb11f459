"""Sums of squares of the inputs of weights."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from localrun.engine.measuring.activations import ActivationSums
from localrun.engine.measuring.graph_tensors import op_number
from localrun.errors import BackendError

NUM_TOKENS, NUM_COLUMNS, NUM_EXPERTS, NUM_USED = 20, 8, 4, 2


def tensor(name: str, shape: tuple[int, ...], sources: tuple[Any, ...] = ()) -> Any:
    """Return a stand-in for a tensor; the slowest dimension is first."""
    padded = (1,) * (4 - len(shape)) + shape
    return SimpleNamespace(
        plain_name=name, sizes=tuple(reversed(padded)), type=0, source=sources.__getitem__
    )


class Values:
    """Values of stand-ins, by name."""

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        self._arrays = arrays

    def values(self, wanted: Any) -> np.ndarray:
        array = self._arrays[wanted.plain_name]
        result: np.ndarray = array.reshape((1,) * (4 - array.ndim) + array.shape)
        return result


def collector(**arrays: np.ndarray) -> Any:
    sums: Any = ActivationSums()
    sums._inputs = sums._ids = Values(arrays)
    return sums


def routed(num_inputs: int, ids: np.ndarray) -> tuple[Any, np.ndarray]:
    """Return a collector that has seen one multiplication by experts, and its inputs."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(NUM_TOKENS, num_inputs, NUM_COLUMNS)).astype(np.float32)
    sums = collector(x=x, ids=ids)
    weights = tensor("blk.0.ffn_down_exps.weight", (NUM_EXPERTS, 16, NUM_COLUMNS))
    inputs = tensor("x", x.shape)
    sums._add_routed(
        tensor("y", (1,), (weights, inputs, tensor("ids", ids.shape))), weights, inputs
    )
    return sums, x


@pytest.mark.parametrize("num_inputs", [1, NUM_USED])
def test_each_expert_counts_the_inputs_that_are_routed_to_it(num_inputs: int) -> None:
    rng = np.random.default_rng(1)
    ids = rng.integers(0, NUM_EXPERTS - 1, (NUM_TOKENS, NUM_USED)).astype(np.int32)

    sums, x = routed(num_inputs, ids)

    expected, counts = np.zeros((NUM_EXPERTS, NUM_COLUMNS)), np.zeros(NUM_EXPERTS)
    for token in range(NUM_TOKENS):
        for place in range(NUM_USED):
            expert = ids[token, place]
            expected[expert] += np.square(x[token, place % num_inputs])
            counts[expert] += 1
    values, found = sums.sums()["blk.0.ffn_down_exps.weight"]
    np.testing.assert_allclose(values, expected, rtol=1e-5)
    assert found.tolist() == counts.tolist()
    assert found[NUM_EXPERTS - 1] == 0


def test_a_routing_beyond_the_experts_is_refused() -> None:
    with pytest.raises(BackendError, match="does not fit its experts"):
        routed(1, np.full((NUM_TOKENS, NUM_USED), NUM_EXPERTS, np.int32))


def test_heads_that_share_a_matrix_are_added_to_it() -> None:
    x = np.random.default_rng(0).normal(size=(4, NUM_TOKENS, NUM_COLUMNS)).astype(np.float32)
    sums, weights = collector(x=x), tensor("blk.0.attn_k_b.weight", (2, 16, NUM_COLUMNS))

    sums._add(None, weights, tensor("x", x.shape))

    values, counts = sums.sums()["blk.0.attn_k_b.weight"]
    squares = np.square(x).sum(axis=1)
    expected = np.stack((squares[0] + squares[2], squares[1] + squares[3]))
    np.testing.assert_allclose(values.reshape(2, -1), expected, rtol=1e-5)
    assert counts.tolist() == [2 * NUM_TOKENS]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_inputs_that_are_no_numbers_end_the_task(value: float) -> None:
    x = np.full((NUM_TOKENS, NUM_COLUMNS), value, np.float32)
    sums = collector(x=x)
    sums._add(None, tensor("blk.0.ffn_up.weight", (16, NUM_COLUMNS)), tensor("x", x.shape))

    with pytest.raises(BackendError, match=r"the inputs of blk\.0\.ffn_up\.weight"):
        sums.sums()


def test_another_size_of_a_tensor_ends_the_task() -> None:
    x = np.ones((NUM_TOKENS, NUM_COLUMNS), np.float32)
    sums = collector(x=x)
    sums.add_sums("blk.0.ffn_up.weight", np.zeros((1, 3)), np.zeros(1, np.int64))

    with pytest.raises(BackendError, match="another size"):
        sums._add(None, tensor("blk.0.ffn_up.weight", (16, NUM_COLUMNS)), tensor("x", x.shape))


def test_an_operation_that_does_not_exist_is_refused() -> None:
    assert op_number("MUL_MAT") != op_number("MUL_MAT_ID")
    with pytest.raises(BackendError, match="no operation MULTIPLY"):
        op_number("MULTIPLY")
