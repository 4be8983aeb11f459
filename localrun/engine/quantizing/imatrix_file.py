"""Files of importance matrices: how strongly each column of a matrix is used, by the tensor's name.

llama.cpp's GGUF format, which is written, and its older one, which is only read:

    general.type = imatrix, imatrix.datasets, imatrix.chunk_count, imatrix.chunk_size
    blk.0.attn_q.weight.in_sum2     F32, sums of squares of the inputs, (columns, matrices)
    blk.0.attn_q.weight.counts      F32, number of inputs, (1, matrices); 1 for all or each expert

    u32 entries; of each: u32 length, name, u32 calls, u32 values, F32 values; u32 chunks, dataset

Reading an index needs no numpy and reads no values: a process that only checks a file stays small.
The values are read from the offsets of the index, one tensor at a time.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.errors import IntegrityError, NotFoundError
from localrun.gguf.data import check_data
from localrun.gguf.header import MAGIC, MAX_TENSORS, Header, read_header

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import BinaryIO

SUMS, COUNTS = ".in_sum2", ".counts"
TYPE, DATASETS = "general.type", "imatrix.datasets"
CHUNK_COUNT, CHUNK_SIZE = "imatrix.chunk_count", "imatrix.chunk_size"
F32 = 0
F32_BYTES = 4
LONGEST_NAME = 128
LONGEST_DATASET = 4096
U32 = struct.Struct("<I")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImatrixEntry:
    """Place of one tensor's values in a file.

    ``counts_offset`` is None in the older format, whose values are sums over ``num_calls`` already
    divided by the number of inputs of a call.
    """

    num_values: int
    num_counts: int
    values_offset: int
    counts_offset: int | None
    num_calls: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ImatrixIndex:
    """What a file of importance matrices has, without its values."""

    path: Path
    entries: Mapping[str, ImatrixEntry]
    num_chunks: int  # 0 if the file does not say
    chunk_size: int  # tokens; 0 if the file does not say
    datasets: tuple[str, ...]
    metadata: Mapping[str, object]


def read_index(path: Path) -> ImatrixIndex:
    """Read which tensors a file has.

    Raises:
        NotFoundError: there is no such file.
        IntegrityError: it is damaged, or no importance matrix.
    """
    try:
        with path.open("rb") as file:
            if file.read(4) == MAGIC:
                return _of_gguf(path, read_header(path))
            return _of_older(path, file)
    except OSError as error:
        raise NotFoundError(
            f"{path} cannot be read: {error.strerror}",
            hint="localrun imatrix MODEL TEXT -o FILE   makes one",
        ) from error


def _of_gguf(path: Path, header: Header) -> ImatrixIndex:
    check_data(header, path.stat().st_size)
    if header.text(TYPE) not in ("imatrix", None) or not any(
        name.endswith(SUMS) for name in header.tensors
    ):
        raise _wrong(path, "it is a GGUF file of another kind")
    entries = {}
    for name, sums in header.tensors.items():
        if not name.endswith(SUMS):
            continue
        counts = header.tensors.get(f"{name.removesuffix(SUMS)}{COUNTS}")
        is_sound = counts is not None and counts.num_elements and sums.num_elements
        if counts is None or not is_sound or sums.num_elements % counts.num_elements:
            raise _wrong(path, f"the counts of {name} are missing or do not fit")
        if sums.kind != F32 or counts.kind != F32:
            raise _wrong(path, f"{name} is not F32")
        entries[name.removesuffix(SUMS)] = ImatrixEntry(
            num_values=sums.num_elements,
            num_counts=counts.num_elements,
            values_offset=header.data_start + sums.offset,
            counts_offset=header.data_start + counts.offset,
        )
    datasets = header.metadata.get(DATASETS)
    return ImatrixIndex(
        path=path,
        entries=entries,
        num_chunks=_number(header, CHUNK_COUNT),
        chunk_size=_number(header, CHUNK_SIZE),
        datasets=tuple(map(str, datasets)) if isinstance(datasets, list) else (),
        metadata=header.metadata,
    )


def _number(header: Header, key: str) -> int:
    value = header.metadata.get(key)
    return value if isinstance(value, int) else 0


def _of_older(path: Path, file: BinaryIO) -> ImatrixIndex:
    """Walk through a file of the older format; every length is checked against the file's."""
    size = os.fstat(file.fileno()).st_size
    file.seek(0)
    num_entries = _word(path, file)
    if not 0 < num_entries <= MAX_TENSORS:
        raise _wrong(path, "it begins with neither GGUF nor a number of entries")
    entries = {}
    for _ in range(num_entries):
        name = _text(path, file, LONGEST_NAME)
        num_calls, num_values = _word(path, file), _word(path, file)
        offset = file.tell()
        if not num_values or offset + num_values * F32_BYTES > size:
            raise _wrong(path, f"the values of {name[:LONGEST_NAME]!r} are cut off")
        entries[name] = ImatrixEntry(
            num_values=num_values,
            num_counts=1,
            values_offset=offset,
            counts_offset=None,
            num_calls=num_calls,
        )
        file.seek(offset + num_values * F32_BYTES)
    has_more = file.tell() + U32.size <= size
    num_chunks = _word(path, file) if has_more else 0
    dataset = _text(path, file, LONGEST_DATASET) if file.tell() + U32.size <= size else ""
    return ImatrixIndex(
        path=path,
        entries=entries,
        num_chunks=num_chunks,
        chunk_size=0,
        datasets=(dataset,) if dataset else (),
        metadata={},
    )


def _word(path: Path, file: BinaryIO) -> int:
    data = file.read(U32.size)
    if len(data) < U32.size:
        raise _wrong(path, "it ends too early")
    return int(U32.unpack(data)[0])


def _text(path: Path, file: BinaryIO, longest: int) -> str:
    length = _word(path, file)
    data = file.read(length) if length <= longest else b""
    if len(data) < length:
        raise _wrong(path, "it ends too early, or is no importance matrix")
    return data.decode(errors="replace")


def _wrong(path: Path, reason: str) -> IntegrityError:
    return IntegrityError(
        f"{path} is not an importance matrix: {reason}",
        hint="localrun imatrix MODEL TEXT -o FILE   makes one",
    )


def fitting_entries(index: ImatrixIndex, sizes: Mapping[str, tuple[int, ...]]) -> Iterator[str]:
    """Return the names of entries whose values fit the tensors of a model, by their sizes.

    Raises:
        IntegrityError: the matrix belongs to another model.
    """
    shared = [name for name in index.entries if name in sizes]
    if not shared:
        raise IntegrityError(
            f"{index.path} belongs to another model: none of its {len(index.entries)} tensors "
            "is in this one",
            hint="localrun imatrix MODEL TEXT -o FILE   makes one for this model",
        )
    for name in shared:
        row, *others = sizes[name]
        expected = row * (others[1] if len(others) > 1 else 1)
        num_values = index.entries[name].num_values
        if num_values == expected:
            yield name
        elif "token_embd" not in name:  # llama.cpp skips those too
            raise IntegrityError(
                f"{index.path} belongs to another model: {name} has {expected} columns here, "
                f"{num_values} there",
                hint="localrun imatrix MODEL TEXT -o FILE   makes one for this model",
            )
