"""Layout of the values in saved cells: by cell, as flash attention reads them, or transposed.

Without flash attention llama.cpp multiplies with values that are transposed, and it restores saved
cells only into a context of the same layout. Cells of one sequence, in little-endian numbers:

    magic, sequence id, 1, number of cells      4 bytes each
    for each cell   position, 1, sequence id    12 bytes, 24 with M-RoPE
    is transposed, number of layers             4 bytes each
    for each layer  type, bytes of a cell       4 + 8 bytes, then the keys
    for each layer  type, bytes of a cell       4 + 8 bytes, then the values [cells, dimensions]
                or  type, bytes of a value, dimensions         4 each, [dimensions, cells]

Both layouts have the same size, and are converted in place.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np

from localrun.errors import BackendError

COUNT_AT, CELLS_AT = 12, 16  # bytes
POSITION_BYTES = (12, 24)  # of a cell, without and with M-RoPE
HEAD_BYTES = 12  # of keys or values of a layer
VALUE_BYTES = {0: 4, 1: 2, 30: 2}  # by ggml's type: F32, F16, BF16
BLOCK_CELLS = 64  # that are transposed together, because more miss the processor's caches


class _Values(NamedTuple):
    """The values of a layer in saved cells."""

    start: int  # of their head, in bytes
    type: int  # ggml's number
    num_dimensions: int


class _SavedCells:
    """Saved cells with positions of so many bytes, if `is_known`."""

    def __init__(self, data: memoryview, position_bytes: int) -> None:
        self._data = data
        self.num_cells = self._number(COUNT_AT)
        self.flag_at = CELLS_AT + self.num_cells * position_bytes
        self.is_transposed = False
        self.values: list[_Values] = []  # of the layers
        self.is_known = self._read_layers()

    def _number(self, offset: int) -> int:
        """Return four bytes as a number, 0 beyond the end."""
        return int.from_bytes(self._data[offset : offset + 4], "little")

    def _read_layers(self) -> bool:
        flag, num_layers = self._number(self.flag_at), self._number(self.flag_at + 4)
        self.is_transposed = flag == 1
        offset, end = self.flag_at + 8, self._data.nbytes
        if flag > 1 or not 0 < num_layers <= end // HEAD_BYTES:
            return False
        for _ in range(num_layers):
            (row_bytes,) = struct.unpack_from("<Q", self._data, min(offset + 4, end - 8))
            offset += HEAD_BYTES + self.num_cells * row_bytes
            if offset > end:
                return False
        while offset < end:
            kind, first, second = (self._number(offset + 4 * n) for n in range(3))
            if kind not in VALUE_BYTES:
                return False
            size = VALUE_BYTES[kind]
            num_dimensions = second if self.is_transposed else first // size
            self.values.append(_Values(offset, kind, num_dimensions))
            offset += HEAD_BYTES + self.num_cells * num_dimensions * size
        return offset == end and len(self.values) == num_layers


def has_known_format(data: memoryview) -> bool:
    """Return whether saved cells of one sequence have the format of this module."""
    return _parse(data) is not None


def set_value_layout(data: memoryview, *, is_transposed: bool) -> None:
    """Convert the values in saved cells of one sequence to a layout, if they have the other one.

    Raises:
        BackendError: the data has another format, as of quantized cells or of a state.
    """
    if int.from_bytes(data[COUNT_AT:CELLS_AT], "little") == 0:
        return
    saved = _parse(data)
    if saved is None:
        raise BackendError("llama.cpp saved cells in a format that is not known")
    if saved.is_transposed == is_transposed:
        return
    data[saved.flag_at : saved.flag_at + 4] = struct.pack("<I", is_transposed)
    for values in saved.values:
        _convert(data, values, saved.num_cells, is_transposed=is_transposed)


def _parse(data: memoryview) -> _SavedCells | None:
    sizes = (_SavedCells(data, position_bytes) for position_bytes in POSITION_BYTES)
    return next((saved for saved in sizes if saved.is_known), None)


def _convert(data: memoryview, values: _Values, num_cells: int, *, is_transposed: bool) -> None:
    size = VALUE_BYTES[values.type]
    width = values.num_dimensions
    head = (
        struct.pack("<III", values.type, size, width)
        if is_transposed
        else struct.pack("<IQ", values.type, width * size)
    )
    begin = values.start + HEAD_BYTES
    data[values.start : begin] = head
    raw = np.frombuffer(data[begin : begin + num_cells * width * size], f"u{size}")
    rows, columns = (num_cells, width) if is_transposed else (width, num_cells)
    matrix = raw.reshape(rows, columns)
    converted = np.empty((columns, rows), matrix.dtype)
    for first in range(0, rows, BLOCK_CELLS):
        last = first + BLOCK_CELLS
        converted[:, first:last] = matrix[first:last].T
    raw[:] = converted.ravel()
