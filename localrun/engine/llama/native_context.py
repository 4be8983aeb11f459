"""A context of llama.cpp: its memory by sequence id, and the flag that aborts a decode.

Knows handles and sequence ids, not sequences of the engine. A context has unified cells, or a
stream of cells for each sequence id. Saved cells have the format of unified cells in both kinds, so
that they can be restored in either:

    magic, sequence id, 1, number of cells, cells                    unified
    magic, sequence id, n, 0, ..., number of cells, cells, ..., 0    n streams, all but one empty

The values of saved cells are by cell, also those of a context without flash attention.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

import llama_cpp
import numpy as np
from llama_cpp import llama_cpp as api

from localrun.engine.llama.memory.value_layout import set_value_layout

if TYPE_CHECKING:
    from collections.abc import Callable

ALL = api.LLAMA_STATE_SEQ_FLAGS_NONE
UNCUTTABLE = api.LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY  # recurrent states and SWA cells only
BYTES = ctypes.POINTER(ctypes.c_uint8)
NUM_STREAMS, FIRST_COUNT = slice(8, 12), 12  # bytes of saved cells
COUNT_BYTES = 4


class AbortFlag:
    """Abort callback of a context: ``strlen`` of a two-byte buffer; any thread may call.

    llama.cpp calls libc's ``strlen`` on the buffer to ask whether to abort, so the check needs
    neither Python nor the GIL.
    """

    def __init__(self, handle: object) -> None:
        self._bytes = ctypes.create_string_buffer(2)
        libc = ctypes.CDLL(None)
        self._callback = ctypes.cast(libc.strlen, api.ggml_abort_callback)
        self.attach(handle)

    def attach(self, handle: object) -> None:
        """Let the flag abort the decodes of another context too."""
        address = ctypes.cast(self._bytes, ctypes.c_void_p)
        llama_cpp.llama_set_abort_callback(handle, self._callback, address)

    def set(self) -> None:
        """Abort the running decode, or else the next one."""
        self._bytes[0] = b"\x01"

    def clear(self) -> None:
        """Let decodes run."""
        self._bytes[0] = b"\x00"


class Scratch:
    """Memory that is used again and again, because fresh memory costs more than a copy."""

    def __init__(self) -> None:
        self._buffer = np.empty(0, np.uint8)

    def of_size(self, size: int) -> np.ndarray:
        """Return bytes that the next call returns as well."""
        if self._buffer.nbytes < size:
            self._buffer = np.empty(size, np.uint8)
        return self._buffer[:size]


def _fresh(size: int) -> np.ndarray:
    return np.empty(size, np.uint8)  # not zeroed, since all of it is written


class NativeContext:
    """A context and its memory, see `KvMemory`; copying is for unified cells only."""

    def __init__(
        self, handle: object, *, num_streams: int = 1, is_transposed: bool = False
    ) -> None:
        """``is_transposed`` says that the values of its cells are, and not those of saved data."""
        self.handle = handle
        self._is_transposed = is_transposed
        self._memory = llama_cpp.llama_get_memory(handle)
        self._num_streams = num_streams
        self._saved = Scratch()
        self._restored = Scratch()

    def copy_cells(self, source: int, target: int, start: int, end: int) -> None:
        """Add ``target`` to the holders of the cells of ``source``; positions [start, end).

        Unless `Model.shares_cells`, the state of ``target`` must be restored before it is
        computed: llama.cpp copies the state of another position and would compute nonsense.
        """
        llama_cpp.llama_memory_seq_cp(self._memory, source, target, start, end)

    def remove_cells(self, seq_id: int, start: int, end: int) -> None:
        """Release cells of a sequence id; ``end`` -1 means up to the last one."""
        llama_cpp.llama_memory_seq_rm(self._memory, seq_id, start, end)

    def clear(self) -> None:
        """Remove all cells, and return the memory of lazy buffers."""
        clear_data = True
        llama_cpp.llama_memory_clear(self._memory, clear_data)

    def last_position(self, seq_id: int) -> int:
        """Return the last position that a sequence id holds, or -1."""
        return int(llama_cpp.llama_memory_seq_pos_max(self._memory, seq_id))

    def save_sequence(self, seq_id: int) -> bytes:
        """Return the cells and the state of a sequence id; empty if llama.cpp cannot."""
        return bytes(self._read(seq_id, _fresh))

    def borrow_sequence(self, seq_id: int) -> memoryview:
        """Return what `save_sequence` does, in memory that the next call overwrites."""
        return self._read(seq_id, self._saved.of_size)

    def restore_sequence(self, seq_id: int, data: bytes | memoryview) -> bool:
        """Restore saved data into an empty sequence id; return False on failure."""
        return write_slot(self.handle, seq_id, ALL, self._for_streams(data))

    def save_state(self, slot: int) -> memoryview:
        """Return a copy of the part of a slot's memory that cannot be cut."""
        return read_slot(self.handle, slot, UNCUTTABLE)

    def restore_state(self, slot: int, data: memoryview) -> bool:
        """Replace that part of a slot's memory by a saved copy; return False on failure."""
        return write_slot(self.handle, slot, UNCUTTABLE, data)

    def close(self) -> None:
        """Free the context."""
        llama_cpp.llama_free(self.handle)

    def drop_scratch(self) -> None:
        """Free the memory of `borrow_sequence` and `restore_sequence`."""
        self._saved, self._restored = Scratch(), Scratch()

    def _read(self, seq_id: int, of_size: Callable[[int], np.ndarray]) -> memoryview:
        data = read_slot(self.handle, seq_id, ALL, of_size)
        cells = _of_one_stream(data, seq_id, self._num_streams)
        if self._is_transposed and cells:
            set_value_layout(cells, is_transposed=False)
        return cells

    def _for_streams(self, data: bytes | memoryview) -> memoryview:
        """Return saved cells in the format of this context: in its first stream, others empty."""
        if self._num_streams == 1 and not self._is_transposed:
            return memoryview(data)
        padded = self._restored.of_size(len(data) + COUNT_BYTES * (self._num_streams - 1))
        padded[: len(data)] = np.frombuffer(data, np.uint8)
        if self._is_transposed:
            set_value_layout(padded[: len(data)].data, is_transposed=True)
        padded[len(data) :] = 0
        padded.data[NUM_STREAMS] = self._num_streams.to_bytes(4, "little")
        return padded.data


def _of_one_stream(data: memoryview, stream: int, num_streams: int) -> memoryview:
    """Return saved cells without the counts of the other streams, which are 0."""
    if num_streams == 1 or not data:
        return data
    num_before, num_behind = COUNT_BYTES * stream, COUNT_BYTES * (num_streams - 1 - stream)
    header = bytes(data[:FIRST_COUNT])
    cells = data[num_before : data.nbytes - num_behind]
    cells[:FIRST_COUNT] = header
    cells[NUM_STREAMS] = (1).to_bytes(4, "little")
    return cells


def read_slot(
    handle: object, slot: int, parts: int, of_size: Callable[[int], np.ndarray] = _fresh
) -> memoryview:
    """Return a copy of the state of a sequence id; ``parts`` is `ALL` or `UNCUTTABLE`."""
    size = llama_cpp.llama_state_seq_get_size_ext(handle, slot, parts)
    buffer = of_size(size)
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
