"""Sums of squares of what each weight matrix multiplies: the content of importance matrices.

llama.cpp calls `ActivationSums.on_tensor` for each operation of the graph (``cb_eval``), first to
ask whether its values are needed. As in llama.cpp's own tool, only multiplications by tensors of
the layers count, and those of fewer than 16 tokens do not.

    MUL_MAT      weights (columns, rows, matrices)   inputs (columns, tokens, matrices or heads)
    MUL_MAT_ID   weights (columns, rows, experts)    inputs (columns, 1 or used experts, tokens)
                                                     ids (used experts, tokens)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from localrun.engine.measuring.graph_tensors import (
    F32,
    GraphTensor,
    TensorReader,
    at,
    check_layout,
    op_number,
)
from localrun.errors import BackendError, LocalrunError

if TYPE_CHECKING:
    from collections.abc import Mapping

LAYER_PREFIX = "blk."
FEWEST_TOKENS = 16
ALL_EXPERTS = 1  # length of the counts of a tensor without experts


@dataclass(slots=True)
class ColumnSums:
    """Sums of squares by matrix and column, and the number of inputs: one, or one an expert."""

    values: np.ndarray  # float64, (matrices, columns)
    counts: np.ndarray  # int64, (1,) or (experts,)


class ActivationSums:
    """Collected sums by the name of the weights; called on the thread that computes."""

    def __init__(self) -> None:
        self.tensors: dict[str, ColumnSums] = {}
        self.failure: LocalrunError | None = None
        self._inputs, self._ids = TensorReader(), TensorReader()
        self._ops = {op_number("MUL_MAT"): self._add, op_number("MUL_MAT_ID"): self._add_routed}
        self._is_checked = False

    def on_tensor(self, address: int, is_question: bool, _data: object) -> bool:  # noqa: FBT001 - llama.cpp's callback
        """Return whether values are needed, or take them; False then ends the computation."""
        if self.failure is not None:
            return False
        try:
            return self._on_tensor(at(address), is_question=is_question)
        except LocalrunError as error:  # no exception may pass through llama.cpp
            self.failure = error
        except (ValueError, IndexError, KeyError) as error:
            self.failure = BackendError(f"llama.cpp computes something unexpected: {error}")
        return False

    def sums(self) -> Mapping[str, tuple[np.ndarray, np.ndarray]]:
        """Return the sums, of shape (1, matrices x columns) without experts, and the counts.

        Raises:
            BackendError: a sum is not a number.
        """
        for name, each in self.tensors.items():
            if not np.isfinite(each.values).all():
                raise BackendError(f"the inputs of {name} have values that are no numbers")
        return {
            name: (each.values.reshape(len(each.counts), -1), each.counts)
            for name, each in self.tensors.items()
        }

    def add_sums(self, name: str, values: np.ndarray, counts: np.ndarray) -> None:
        """Begin with the sums of an earlier run."""
        self.tensors[name] = ColumnSums(values, counts)

    def _on_tensor(self, tensor: GraphTensor, *, is_question: bool) -> bool:
        take = self._ops.get(tensor.op)
        if take is None:
            return False
        if not self._is_checked:
            check_layout(tensor)
            self._is_checked = True
        weights, inputs = tensor.source(0), tensor.source(1)
        if is_question:
            return take == self._add_routed or _counts(weights, inputs)
        take(tensor, weights, inputs)
        return True

    def _add(self, _tensor: GraphTensor, weights: GraphTensor, inputs: GraphTensor) -> None:
        num_matrices = weights.sizes[2] * weights.sizes[3]
        entry = self._entry(weights, inputs.sizes[0], num_matrices, ALL_EXPERTS)
        values = self._inputs.values(inputs)
        for outer in range(values.shape[0]):
            for inner in range(values.shape[1]):
                matrix = (outer % weights.sizes[3]) * weights.sizes[2] + inner % weights.sizes[2]
                entry.values[matrix] += _squares(values[outer, inner])
        num_rows = values.shape[0] * values.shape[1] * values.shape[2]
        entry.counts += num_rows // num_matrices

    def _add_routed(self, tensor: GraphTensor, weights: GraphTensor, inputs: GraphTensor) -> None:
        num_experts = weights.sizes[2]
        ids = self._ids.values(tensor.source(2))[0, 0]  # (tokens, used experts)
        values = self._inputs.values(inputs)[0]  # (tokens, 1 or used experts, columns)
        if ids.min() < 0 or ids.max() >= num_experts or ids.shape[0] != values.shape[0]:
            raise BackendError(f"the routing of {weights.plain_name} does not fit its experts")
        entry = self._entry(weights, inputs.sizes[0], num_experts, num_experts)
        for expert in np.unique(ids):
            tokens, places = np.nonzero(ids == expert)
            entry.values[expert] += _squares(values[tokens, places % values.shape[1]])
            entry.counts[expert] += len(tokens)

    def _entry(
        self, weights: GraphTensor, num_columns: int, num_matrices: int, num_counts: int
    ) -> ColumnSums:
        name = weights.plain_name
        entry = self.tensors.get(name)
        if entry is None:
            values = np.zeros((num_matrices, num_columns))
            entry = self.tensors[name] = ColumnSums(values, np.zeros(num_counts, np.int64))
        if entry.values.size != num_matrices * num_columns:
            raise BackendError(f"{name} has another size than before")
        entry.values = entry.values.reshape(num_matrices, num_columns)
        if num_counts > len(entry.counts) == ALL_EXPERTS:  # used in both ways
            entry.counts = np.repeat(entry.counts, num_counts)
        return entry


def _counts(weights: GraphTensor, inputs: GraphTensor) -> bool:
    """Return whether a multiplication is one by weights of a layer, of enough tokens."""
    if inputs.sizes[1] < FEWEST_TOKENS or inputs.type != F32:
        return False
    return weights.plain_name.startswith(LAYER_PREFIX)


def _squares(rows: np.ndarray) -> np.ndarray:
    """Return the sums of squares of columns, added in float64."""
    result: Any = np.add.reduce(np.square(rows), axis=0, dtype=np.float64)
    return np.asarray(result)
