"""Values of importance matrices: reading them as llama.cpp's quantizer takes them, and writing.

A file is written beside its name and renamed, so that a complete name has complete content.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

import numpy as np

from localrun.disk import temporary_beside
from localrun.engine.quantizing.imatrix_file import (
    CHUNK_COUNT,
    CHUNK_SIZE,
    COUNTS,
    DATASETS,
    F32,
    SUMS,
    TYPE,
)
from localrun.gguf.header import ARRAY, DEFAULT_ALIGNMENT, MAGIC, STRING
from localrun.system.files import replace_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path
    from typing import BinaryIO

    from localrun.engine.quantizing.imatrix_file import ImatrixEntry

    Sums = tuple["np.ndarray", "np.ndarray"]  # float32 sums (matrices, columns), counts (matrices,)

VERSION = 3
U32_TYPE = 4


def importance(file: BinaryIO, entry: ImatrixEntry) -> np.ndarray:
    """Return the mean square of each column, float32 of shape (values,).

    The columns of an expert that no input reached get 1, as in llama.cpp.

    Raises:
        ValueError: a value is negative or not a number.
    """
    values = _read(file, entry.values_offset, entry.num_values)
    if entry.counts_offset is None:
        means = values / max(1, entry.num_calls)
    else:
        counts = _read(file, entry.counts_offset, entry.num_counts)[:, None]
        by_matrix = values.reshape(entry.num_counts, -1)
        means = np.where(counts > 0, by_matrix / np.maximum(counts, 1), 1.0).ravel()
    if not np.isfinite(means).all() or (means < 0).any():
        raise ValueError("a value that is negative or not a number")
    return np.ascontiguousarray(means, np.float32)


def read_sums(file: BinaryIO, entry: ImatrixEntry) -> Sums:
    """Return the sums of squares, float64 of shape (matrices, columns), and the counts."""
    values = _read(file, entry.values_offset, entry.num_values).astype(np.float64)
    counts = _read(file, entry.counts_offset or 0, entry.num_counts).astype(np.int64)
    return values.reshape(entry.num_counts, -1), counts


def write_imatrix(
    path: Path,
    sums: Mapping[str, Sums],
    *,
    num_chunks: int,
    chunk_size: int,
    datasets: Sequence[str],
    further: Mapping[str, str | int] | None = None,
) -> None:
    """Write a file in llama.cpp's GGUF format, replacing an existing one.

    Raises:
        OSError: the disk does not take it.
    """
    pairs = [
        _pair(TYPE, "imatrix"),
        _texts(DATASETS, datasets),
        _pair(CHUNK_COUNT, num_chunks),
        _pair(CHUNK_SIZE, chunk_size),
        *(_pair(key, value) for key, value in (further or {}).items()),
    ]
    tensors: list[tuple[str, np.ndarray]] = []
    for name in sorted(sums):
        values, counts = sums[name]
        tensors.append((f"{name}{SUMS}", values.astype(np.float32)))
        tensors.append((f"{name}{COUNTS}", counts.astype(np.float32)[:, None]))
    partial = temporary_beside(path)
    try:
        with partial.open("wb") as file:
            _write(file, pairs, tensors)
            file.flush()
            os.fsync(file.fileno())
        replace_file(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _read(file: BinaryIO, offset: int, count: int) -> np.ndarray:
    file.seek(offset)
    data = file.read(4 * count)
    if len(data) < 4 * count:
        raise ValueError("the file has changed")
    return np.frombuffer(data, "<f4")


def _write(
    file: BinaryIO, pairs: Sequence[bytes], tensors: Iterable[tuple[str, np.ndarray]]
) -> None:
    tensors = list(tensors)
    infos, offset = [], 0
    for name, array in tensors:
        sizes = array.shape[::-1] if array.shape[0] > 1 else array.shape[1:]  # as ggml does
        shape = struct.pack(f"<I{len(sizes)}Q", len(sizes), *sizes)
        infos.append(_string(name) + shape + struct.pack("<IQ", F32, offset))
        offset += array.nbytes + -array.nbytes % DEFAULT_ALIGNMENT
    file.write(MAGIC + struct.pack("<IQQ", VERSION, len(tensors), len(pairs)))
    file.writelines([*pairs, *infos])
    file.write(bytes(-file.tell() % DEFAULT_ALIGNMENT))
    for _, array in tensors:
        file.write(array.tobytes())
        file.write(bytes(-array.nbytes % DEFAULT_ALIGNMENT))


def _pair(key: str, value: str | int) -> bytes:
    if isinstance(value, str):
        return _string(key) + struct.pack("<I", STRING) + _string(value)
    return _string(key) + struct.pack("<II", U32_TYPE, value)


def _texts(key: str, values: Sequence[str]) -> bytes:
    head = struct.pack("<IIQ", ARRAY, STRING, len(values))
    return _string(key) + head + b"".join(map(_string, values))


def _string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data
