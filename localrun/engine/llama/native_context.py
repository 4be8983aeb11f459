"""Parts of llama.cpp's context API that the bindings leave to the caller: abort, sequence state.

Knows handles and sequence ids, not sequences of the engine.
"""

from __future__ import annotations

import ctypes

import llama_cpp
import numpy as np
from llama_cpp import llama_cpp as api

ALL = api.LLAMA_STATE_SEQ_FLAGS_NONE
UNCUTTABLE = api.LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY  # recurrent states and SWA cells only
BYTES = ctypes.POINTER(ctypes.c_uint8)


class AbortFlag:
    """Abort callback of a context: ``strlen`` of a two-byte buffer; any thread may call.

    llama.cpp calls libc's ``strlen`` on the buffer to ask whether to abort, so the check needs
    neither Python nor the GIL.
    """

    def __init__(self, handle: object) -> None:
        self._bytes = ctypes.create_string_buffer(2)
        libc = ctypes.CDLL(None)
        self._callback = ctypes.cast(libc.strlen, api.ggml_abort_callback)
        address = ctypes.cast(self._bytes, ctypes.c_void_p)
        llama_cpp.llama_set_abort_callback(handle, self._callback, address)

    def set(self) -> None:
        """Abort the running decode, or else the next one."""
        self._bytes[0] = b"\x01"

    def clear(self) -> None:
        """Let decodes run."""
        self._bytes[0] = b"\x00"


def read_slot(handle: object, slot: int, parts: int) -> memoryview:
    """Return a copy of the state of a sequence id; ``parts`` is `ALL` or `UNCUTTABLE`."""
    size = llama_cpp.llama_state_seq_get_size_ext(handle, slot, parts)
    buffer = np.empty(size, np.uint8)  # not zeroed, since all of it is written
    pointer = buffer.ctypes.data_as(BYTES)
    written = llama_cpp.llama_state_seq_get_data_ext(handle, pointer, size, slot, parts)
    return buffer.data[:written]


def write_slot(handle: object, slot: int, parts: int, data: memoryview) -> bool:
    """Replace the state of a sequence id; return False if llama.cpp cannot.

    llama.cpp does not validate the bytes: they must come from `read_slot` of an equal context.
    """
    pointer = np.frombuffer(data, np.uint8).ctypes.data_as(BYTES)
    taken = llama_cpp.llama_state_seq_set_data_ext(handle, pointer, data.nbytes, slot, parts)
    return bool(taken and taken == data.nbytes)
