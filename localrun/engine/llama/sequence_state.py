"""What a slot of a llama.cpp context holds, as bytes and back.

llama.cpp believes the bytes: they must come from an equal context.
"""

from __future__ import annotations

import ctypes

import llama_cpp
import numpy as np
from llama_cpp import llama_cpp as api

ALL = api.LLAMA_STATE_SEQ_FLAGS_NONE
UNCUTTABLE = api.LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY  # states and windows, no other cells
BYTES = ctypes.POINTER(ctypes.c_uint8)


def read_slot(handle: object, slot: int, parts: int) -> memoryview:
    """Return a copy of these parts of what a slot holds."""
    size = llama_cpp.llama_state_seq_get_size_ext(handle, slot, parts)
    buffer = np.empty(size, np.uint8)  # not cleared, since all of it is written
    pointer = buffer.ctypes.data_as(BYTES)
    written = llama_cpp.llama_state_seq_get_data_ext(handle, pointer, size, slot, parts)
    return buffer.data[:written]


def write_slot(handle: object, slot: int, parts: int, data: memoryview) -> bool:
    """Put what `read_slot` returned in the place of what a slot holds; False when it cannot."""
    pointer = np.frombuffer(data, np.uint8).ctypes.data_as(BYTES)
    taken = llama_cpp.llama_state_seq_set_data_ext(handle, pointer, data.nbytes, slot, parts)
    return bool(taken and taken == data.nbytes)
