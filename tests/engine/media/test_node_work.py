"""The work of a node is that of its operation, read from ggml's tensors while they are computed."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

from localrun.engine.llama.ggml import ggml_functions
from localrun.engine.measuring.graph_tensors import GraphTensor
from localrun.engine.media import node_work
from localrun.engine.media.node_work import PRODUCTS_PER_ELEMENT, PRODUCTS_PER_SCORE, NodeWork
from localrun.errors import BackendError
from tests.engine.media.pairs import EYE_INNER, EYE_WIDTH
from tests.engine.media.seeing import Seeing, picture

if TYPE_CHECKING:
    import pytest

    from tests.engine.media.conftest import OpenPair

SIZES = (64, 10, 4, 1)


def number_of(op: str) -> int:
    """Return ggml's number of an operation that exists."""
    name = ggml_functions().ggml_op_name
    return next(number for number in range(256) if name(number) == op.encode())


def tensor(op: str, *sources: GraphTensor) -> GraphTensor:
    made = GraphTensor(op=number_of(op), sizes=SIZES)
    for index, source in enumerate(sources):
        made.sources[index] = ctypes.addressof(source)
    return made


def sized(*sizes: int) -> GraphTensor:
    return GraphTensor(sizes=sizes)


def test_a_multiplication_takes_its_products_and_others_their_elements() -> None:
    weights, inputs, keys = sized(32, 64, 1, 1), sized(32, 10, 4, 1), sized(64, 7, 4, 1)
    num_elements = 64 * 10 * 4
    work = {
        "MUL_MAT": num_elements * 32,
        "FLASH_ATTN_EXT": num_elements * 7 * PRODUCTS_PER_SCORE,
        "ADD": num_elements * PRODUCTS_PER_ELEMENT,
        "RESHAPE": 0,
        "PERMUTE": 0,
    }
    sources = {"MUL_MAT": (weights, inputs), "FLASH_ATTN_EXT": (inputs, keys)}

    for op, expected in work.items():
        node = tensor(op, *sources.get(op, ()))
        assert NodeWork().of(ctypes.addressof(node)) == expected, op


def test_the_nodes_of_an_encoder_are_read_while_it_encodes(
    open_family: OpenPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = open_family("janus")
    pair.library.embeddings.clear()
    works: list[float] = []
    work_of = pair.projector._pauses._work_of

    def recorded(address: int) -> float:
        works.append(work_of(address))
        return works[-1]

    monkeypatch.setattr(pair.projector._pauses, "_work_of", recorded)
    seeing = Seeing(pair)
    seeing.ask([picture(1)], new=1)
    seeing.close()

    num_patches = 64
    assert 0.0 in works
    assert num_patches * EYE_WIDTH * EYE_INNER in works


def test_all_nodes_are_equal_in_a_build_with_other_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_tensor: GraphTensor) -> None:
        raise BackendError("unknown layout")

    monkeypatch.setattr(node_work, "check_layout", fail)
    one, other = tensor("RESHAPE"), tensor("ADD")
    work = NodeWork()

    assert work.of(ctypes.addressof(one)) == work.of(ctypes.addressof(other)) > 0
