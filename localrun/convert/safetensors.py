"""Reader of safetensors files; tensors are mapped into memory, not loaded.

The file is untrusted: the header is bounded, each tensor must be inside the file and have the size
of its shape, and together the tensors must cover the data without overlap or gap, as the format
requires.

    u64 size of the header
    {"__metadata__": {...},
     "name": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]}, ...}
    data, little-endian; offsets are half-open and count from its beginning

A model of several files has an index, ``model.safetensors.index.json``, whose ``weight_map`` maps
each tensor to its file.

Format: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, TypeGuard

import numpy as np

from localrun.convert import folder as folders
from localrun.errors import IntegrityError, NotFoundError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

LARGEST_HEADER = 25_000_000  # of 200,000 tensors; the reference allows 100 MB, which takes 3 GB
LONGEST_NAME = 512
MAX_DIMENSIONS = 8
MODEL_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
SIZES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1,
    "I16": 2, "U16": 2, "F16": 2, "BF16": 2,
    "I32": 4, "U32": 4, "F32": 4, "I64": 8, "U64": 8, "F64": 8,
}  # fmt: skip
STORED = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}
BYTES = {"U8": "u1", "F8_E4M3": "u1", "I32": "<i4"}  # of formats that are taken apart elsewhere

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SafetensorsTensor:
    """A tensor in a file, at the bytes ``[start, end)``."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    path: Path
    start: int
    end: int

    def stored(self) -> Array:
        """Return the stored values, mapped into memory; BF16 as uint16 bits, U8 and FP8 as bytes.

        Raises:
            UsageError: the type is none of these.
        """
        types = STORED | BYTES
        if self.dtype not in types:
            raise UsageError(
                f"tensor {self.name} has the type {self.dtype}; F32, F16 and BF16 can be converted",
                hint="take the unquantized model",
            )
        kind = np.dtype(types[self.dtype])
        if self.start == self.end:  # an empty range cannot be mapped
            return np.empty(self.shape, kind)
        return np.memmap(self.path, kind, mode="r", offset=self.start, shape=self.shape)

    def float32(self) -> Array:
        """Return the values as float32; F32 stays mapped, other types are copied."""
        return widened(self.stored(), self.dtype)


def widened(data: Array, dtype: str) -> Array:
    """Return stored values as float32.

    Raises:
        UsageError: the type is a part of a quantized format.
    """
    if dtype not in STORED:
        raise UsageError(
            f"values of the type {dtype} are not numbers by themselves; F32, F16 and BF16 are",
            hint="take the unquantized model or adapter",
        )
    if dtype == "BF16":
        return (data.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return data.astype(np.float32, copy=False)


def read_file(path: Path) -> dict[str, SafetensorsTensor]:
    """Return the tensors of one safetensors file by name, in the order of their data.

    Raises:
        IntegrityError: the file is not a valid safetensors file.
        OSError: the file cannot be opened.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        header, data_start = _read_header(file, path, size)
    header.pop("__metadata__", None)
    tensors = [_tensor(name, entry, path, data_start) for name, entry in header.items()]
    tensors.sort(key=lambda tensor: (tensor.start, tensor.end))
    _check_cover(tensors, path, data_start, size)
    return {tensor.name: tensor for tensor in tensors}


def read_folder(folder: Path) -> dict[str, SafetensorsTensor]:
    """Return the tensors of a model in a folder, from one file or several.

    Raises:
        NotFoundError: the folder has no safetensors, or a file is missing.
        UsageError: the folder has its weights in pickle files only.
        IntegrityError: a file is damaged, or the index does not agree with the files.
    """
    index = folders.find(folder, INDEX_FILE)
    if index is not None:
        return _read_shards(folder, index)
    single = folders.find(folder, MODEL_FILE)
    if single is not None:
        return read_file(single)
    if any(folder.glob("*.bin")) or any(folder.glob("*.pt")) or any(folder.glob("*.pth")):
        raise UsageError(
            f"{folder} has its weights in pickle files, which can run code when they are opened",
            hint=f"take a repository with {MODEL_FILE}, or save the model again as safetensors",
        )
    raise NotFoundError(f"{folder} has no {MODEL_FILE} and no {INDEX_FILE}")


def _read_header(file: BinaryIO, path: Path, file_size: int) -> tuple[dict[str, Any], int]:
    prefix = file.read(8)
    if len(prefix) < 8:  # noqa: PLR2004 - a u64
        raise _damaged(path, "it has less than 8 bytes")
    size = struct.unpack("<Q", prefix)[0]
    if size > LARGEST_HEADER:
        raise _damaged(path, f"its header would have {size:,} bytes")
    if len(prefix) + size > file_size:
        raise _damaged(path, "it ends within its header")
    return folders.parse_json(file.read(size), f"the header of {path}"), len(prefix) + size


def _tensor(name: str, entry: object, path: Path, data_start: int) -> SafetensorsTensor:
    if len(name) > LONGEST_NAME:
        raise _damaged(path, f"a tensor has a name of {len(name):,} characters")
    if not isinstance(entry, dict):
        raise _damaged(path, f"tensor {name!r} is not described by an object")
    dtype, shape, offsets = (entry.get(key) for key in ("dtype", "shape", "data_offsets"))
    if not isinstance(dtype, str) or dtype not in SIZES:
        raise _damaged(path, f"tensor {name!r} has the unknown type {dtype!r:.100}")
    if not _are_counts(shape) or len(shape) > MAX_DIMENSIONS:
        raise _damaged(path, f"tensor {name!r} has no sensible shape")
    if not _are_counts(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:  # noqa: PLR2004
        raise _damaged(path, f"tensor {name!r} has no sensible offsets")
    if offsets[1] - offsets[0] != math.prod(shape) * SIZES[dtype]:
        raise _damaged(path, f"tensor {name!r} has not the size of its shape")
    return SafetensorsTensor(
        name=name,
        dtype=dtype,
        shape=tuple(shape),
        path=path,
        start=data_start + offsets[0],
        end=data_start + offsets[1],
    )


def _are_counts(values: object) -> TypeGuard[list[int]]:
    """Return whether a value is a list of non-negative integers; booleans are not integers."""
    return isinstance(values, list) and all(type(value) is int and value >= 0 for value in values)


def _check_cover(tensors: list[SafetensorsTensor], path: Path, start: int, file_size: int) -> None:
    """Check that the sorted tensors cover the file from ``start`` to its end."""
    for tensor in tensors:
        if tensor.start != start:
            relation = "overlaps" if tensor.start < start else "leaves a gap after"
            raise _damaged(path, f"tensor {tensor.name!r} {relation} the one before")
        start = tensor.end
    if start > file_size:
        raise _damaged(path, f"it ends {start - file_size:,} bytes before its last tensor does")
    if start < file_size:
        raise _damaged(path, f"it has {file_size - start:,} bytes after its last tensor")


def _read_shards(folder: Path, index: Path) -> dict[str, SafetensorsTensor]:
    file_names = folders.read_json(index).get("weight_map")
    if not isinstance(file_names, dict) or not _are_texts(file_names.values()):
        raise _damaged(index, "it has no weight_map from tensors to files")
    tensors: dict[str, SafetensorsTensor] = {}
    for name in sorted(set(file_names.values())):
        shard = read_file(folders.require(folder, name))
        _check_agrees(shard, file_names, index, name)
        tensors.update(shard)
    missing = file_names.keys() - tensors.keys()
    if missing:
        raise _damaged(index, f"tensor {min(missing)!r} is not in {file_names[min(missing)]!r}")
    return tensors


def _are_texts(values: Iterable[object]) -> bool:
    return all(isinstance(value, str) for value in values)


def _check_agrees(
    shard: Mapping[str, SafetensorsTensor], file_names: Mapping[str, str], index: Path, name: str
) -> None:
    for tensor in shard:
        if file_names.get(tensor) != name:
            raise _damaged(index, f"it does not say that tensor {tensor!r} is in {name!r}")


def _damaged(path: Path, reason: str) -> IntegrityError:
    return IntegrityError(f"{path} is damaged: {reason}", hint="download it again")
