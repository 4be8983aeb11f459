"""Tensors of llama.cpp's graph while it is computed: their shapes, sources and values.

ggml has no functions for the sources of a tensor, so its structure is declared here. The first
tensor that is seen is compared with what ggml's own functions say about it: another layout ends
the task instead of computing nonsense.
"""

from __future__ import annotations

import ctypes
from functools import cache

import numpy as np

from localrun.engine.llama.ggml import ggml_functions
from localrun.errors import BackendError

NUM_SOURCES, NUM_DIMENSIONS, NAME_BYTES, PARAM_BYTES = 10, 4, 64, 64
MOST_OPS = 64  # all builds have more; a number beyond the last one would be read
F32, I32 = 0, 26  # ggml's numbers
LAYOUT_OF = {F32: np.float32, I32: np.int32}


class GraphTensor(ctypes.Structure):
    """``struct ggml_tensor``."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("buffer", ctypes.c_void_p),
        ("sizes", ctypes.c_int64 * NUM_DIMENSIONS),
        ("strides", ctypes.c_size_t * NUM_DIMENSIONS),
        ("op", ctypes.c_int),
        ("op_params", ctypes.c_char * PARAM_BYTES),
        ("flags", ctypes.c_int32),
        ("sources", ctypes.c_void_p * NUM_SOURCES),
        ("view_source", ctypes.c_void_p),
        ("view_offset", ctypes.c_size_t),
        ("data", ctypes.c_void_p),
        ("name", ctypes.c_char * NAME_BYTES),
        ("extra", ctypes.c_void_p),
        ("padding", ctypes.c_char * 8),
    )

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the sizes, the slowest dimension first, as numpy has them."""
        return tuple(reversed(self.sizes))

    def source(self, index: int) -> GraphTensor:
        """Return a source of the operation."""
        return at(self.sources[index])

    @property
    def plain_name(self) -> str:
        """Return the name without the device and the copy: ``CUDA0#blk.0.attn_k.weight#0``."""
        parts: list[str] = self.name.decode(errors="replace").split("#")
        return parts[1] if len(parts) > 1 else parts[0]


class TensorReader:
    """Values of tensors, in memory that is used again."""

    def __init__(self) -> None:
        self._buffer = np.empty(0, np.uint8)

    def values(self, tensor: GraphTensor) -> np.ndarray:
        """Return the values of an F32 or I32 tensor, four-dimensional, valid until the next call.

        The values are copied from wherever they are, and need not be contiguous.
        """
        num_bytes = int(ggml_functions().ggml_nbytes(ctypes.byref(tensor)))
        if self._buffer.nbytes < num_bytes:
            self._buffer = np.empty(num_bytes, np.uint8)
        address = self._buffer.ctypes.data_as(ctypes.c_void_p)
        ggml_functions().ggml_backend_tensor_get(ctypes.byref(tensor), address, 0, num_bytes)
        layout = np.dtype(LAYOUT_OF[tensor.type])
        return np.ndarray(
            tensor.shape, layout, self._buffer.data, 0, tuple(reversed(tensor.strides))
        )


def at(address: int) -> GraphTensor:
    """Return the tensor at an address, without a copy."""
    return GraphTensor.from_address(address)


def check_layout(tensor: GraphTensor) -> None:
    """Compare the declared structure with what ggml says.

    Raises:
        BackendError: this build of ggml has another layout.
    """
    ggml = ggml_functions()
    here = ctypes.addressof(tensor)
    sizes = [size for size in tensor.sizes if size < 1]
    if ggml.ggml_get_name(here) != here + GraphTensor.name.offset or sizes:
        raise BackendError("llama.cpp has tensors of an unknown layout in this build")


@cache
def op_number(name: str) -> int:
    """Return ggml's number of an operation.

    Raises:
        BackendError: this build has no such operation.
    """
    for number in range(MOST_OPS):
        if ggml_functions().ggml_op_name(number) == name.encode():
            return number
    raise BackendError(f"llama.cpp has no operation {name} in this build")
