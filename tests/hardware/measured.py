"""What llama.cpp says that a model and a context take, without reading a weight.

``llama_get_memory_breakdown`` is C++ and returns a ``std::map``, so it is called by its
mangled name with a hidden pointer to the result, and the map's tree is walked.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import llama_cpp
from llama_cpp import llama_cpp as api

if TYPE_CHECKING:
    from pathlib import Path

BREAKDOWN = "_Z26llama_get_memory_breakdownPK13llama_context"


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """Bytes of all buffers, whichever kind of processor memory they are of."""

    weights: int
    cells: int
    compute: int

    @property
    def total(self) -> int:
        return self.weights + self.cells + self.compute


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """How a context is opened, as the engine does."""

    cells: int = 8192
    step: int = 512
    slots: int = 16
    flash_attention: bool = True
    cache_type: int = 1  # GGML_TYPE_F16


class _Node(ctypes.Structure):
    pass


_Node._fields_ = [
    ("color", ctypes.c_int),
    ("parent", ctypes.POINTER(_Node)),
    ("left", ctypes.POINTER(_Node)),
    ("right", ctypes.POINTER(_Node)),
    ("kind", ctypes.c_void_p),
    ("model", ctypes.c_size_t),
    ("context", ctypes.c_size_t),
    ("compute", ctypes.c_size_t),
]


class _Map(ctypes.Structure):
    _fields_ = [
        ("compare", ctypes.c_void_p),
        ("color", ctypes.c_int),
        ("root", ctypes.POINTER(_Node)),
        ("first", ctypes.c_void_p),
        ("last", ctypes.c_void_p),
        ("size", ctypes.c_size_t),
    ]


def measure(path: Path, setup: Setup) -> Taken:
    """Open a model without its weights and a context, and return what they would take."""
    params = llama_cpp.llama_model_default_params()
    params.no_alloc = True
    params.load_mode = api.LLAMA_LOAD_MODE_NONE
    params.n_gpu_layers, params.split_mode, params.main_gpu = 0, api.LLAMA_SPLIT_MODE_NONE, -1
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), params)
    assert model, path
    context = llama_cpp.llama_init_from_model(model, _context_params(setup))
    assert context, path
    try:
        nodes = list(_nodes(context))
    finally:
        llama_cpp.llama_free(context)
        llama_cpp.llama_model_free(model)
    return Taken(
        weights=sum(node.model for node in nodes),
        cells=sum(node.context for node in nodes),
        compute=sum(node.compute for node in nodes),
    )


def _context_params(setup: Setup) -> Any:
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = setup.cells
    params.n_batch = params.n_ubatch = setup.step
    params.n_seq_max = params.n_outputs_max = setup.slots
    params.kv_unified = True
    params.swa_full = False
    params.type_k = params.type_v = setup.cache_type
    params.flash_attn_type = int(setup.flash_attention)
    return params


def _nodes(context: object) -> list[_Node]:
    breakdown = getattr(api._lib, BREAKDOWN)
    breakdown.restype, breakdown.argtypes = (
        ctypes.c_void_p,
        [ctypes.POINTER(_Map), ctypes.c_void_p],
    )
    found = _Map()
    breakdown(ctypes.byref(found), context)
    nodes: list[_Node] = []

    def walk(node: Any) -> None:
        if node:
            walk(node.contents.left)
            nodes.append(node.contents)
            walk(node.contents.right)

    walk(found.root)
    return nodes
