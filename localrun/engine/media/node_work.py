"""Work of the nodes of an encoder's graph: how long each takes compared with the others.

    MUL_MAT           elements of the result x length of a row of the weights
    FLASH_ATTN_EXT    elements of the result x keys x 3.5: two multiplications and a softmax
    views             0
    all others        elements of the result x 60: they wait for memory

The unit is one product of a matrix multiplication. A layer of a vision transformer has some thirty
nodes, seven of which take 90 % of its time. The factors are those of SigLIP base on processors with
AVX2.
"""

from __future__ import annotations

import math

from localrun.engine.llama.ggml import ggml_functions
from localrun.engine.measuring.graph_tensors import at, check_layout
from localrun.errors import BackendError

PRODUCTS_PER_SCORE = 3.5
PRODUCTS_PER_ELEMENT = 60.0
MULTIPLY, ATTEND = b"MUL_MAT", b"FLASH_ATTN_EXT"
VIEWS = frozenset({b"NONE", b"RESHAPE", b"VIEW", b"PERMUTE", b"TRANSPOSE"})
UNKNOWN = 1.0  # of each node, if this build of ggml has another layout of tensors


class NodeWork:
    """Reader of the tensors of a graph that is computed."""

    def __init__(self) -> None:
        self._names: dict[int, bytes] = {}  # of operations, by ggml's number
        self._is_known: bool | None = None  # the layout of tensors; None: no tensor came yet

    def of(self, address: int) -> float:
        """Return the work of the node whose tensor is at an address."""
        if self._is_known is None:
            self._is_known = _has_known_layout(address)
        if not self._is_known:
            return UNKNOWN
        tensor = at(address)
        name = self._name(tensor.op)
        if name in VIEWS:
            return 0.0
        num_elements = float(math.prod(tensor.sizes))
        if name == MULTIPLY:
            return num_elements * int(tensor.source(0).sizes[0])
        if name == ATTEND:
            return num_elements * int(tensor.source(1).sizes[1]) * PRODUCTS_PER_SCORE
        return num_elements * PRODUCTS_PER_ELEMENT

    def _name(self, op: int) -> bytes:
        name = self._names.get(op)
        if name is None:
            name = self._names[op] = bytes(ggml_functions().ggml_op_name(op))
        return name


def _has_known_layout(address: int) -> bool:
    try:
        check_layout(at(address))
    except BackendError:
        return False
    return True
