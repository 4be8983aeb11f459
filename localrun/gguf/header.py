"""Read the header of a GGUF file: its metadata and the shapes of its tensors.

The file is untrusted: reader.py bounds what reading it may cost. Long arrays
(vocabularies) are skipped; only their length is kept.

    "GGUF" u32 version  u64 tensors  u64 pairs
    pair   = string key, u32 type, value
    tensor = string name, u32 dimensions, u64 size * dimensions, u32 type, u64 offset

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import math
import os
import struct
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from localrun.gguf.reader import Reader
from localrun.gguf.types import FILE_TYPES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MOST_PAIRS = 100_000
MOST_TENSORS = 100_000
MOST_DIMENSIONS = 4
MOST_ELEMENTS = 2**63 - 1
LARGEST_ALIGNMENT = 1024 * 1024
DEFAULT_ALIGNMENT = 32
LONGEST_KEY = 65535
LONGEST_NAME = 64  # ggml's own limit for tensors
LONGEST_KEPT_ARRAY = 64
LONGEST_ARRAY = 16 * 1024 * 1024
DEEPEST_ARRAY = 2
ITEM_BYTES = 64  # what Python takes for a number in a list or a table, at most
TENSOR_BYTES = 400
STRING, ARRAY = 8, 9
SCALARS = {
    0: struct.Struct("<B"),
    1: struct.Struct("<b"),
    2: struct.Struct("<H"),
    3: struct.Struct("<h"),
    4: struct.Struct("<I"),
    5: struct.Struct("<i"),
    6: struct.Struct("<f"),
    7: struct.Struct("<?"),
    10: struct.Struct("<Q"),
    11: struct.Struct("<q"),
    12: struct.Struct("<d"),
}


@dataclass(frozen=True, slots=True)
class SkippedArray:
    """Stands for an array that was too long to keep."""

    length: int


Value = str | int | float | bool | list["Value"] | SkippedArray


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """A tensor's shape (the fastest dimension first), ggml's number of its type, and its place."""

    sizes: tuple[int, ...]
    kind: int
    offset: int

    @property
    def num_elements(self) -> int:
        """Return how many numbers it has."""
        return math.prod(self.sizes)


@dataclass(frozen=True, slots=True)
class Header:
    """What a GGUF file says of itself."""

    metadata: Mapping[str, Value]
    tensors: Mapping[str, GgufTensor]
    data_start: int  # where the first tensor's bytes begin

    @property
    def num_tensors(self) -> int:
        """Return how many tensors there are."""
        return len(self.tensors)

    @property
    def num_params(self) -> int:
        """Return how many numbers all tensors have together."""
        return sum(tensor.num_elements for tensor in self.tensors.values())

    @property
    def architecture(self) -> str:
        """Return llama.cpp's name of the architecture, or "unknown"."""
        name = self.text("general.architecture") or "unknown"
        return name if len(name) <= LONGEST_NAME else "unknown"  # each key is looked up with it

    @property
    def file_type(self) -> str:
        """Return the quantization's name, such as Q4_K_M, or "unknown"."""
        found = self.metadata.get("general.file_type")
        return FILE_TYPES.get(found, "unknown") if isinstance(found, int) else "unknown"

    @property
    def context_length(self) -> int | None:
        """Return the context that the model was trained with, in tokens."""
        found = self.metadata.get(f"{self.architecture}.context_length")
        return found if isinstance(found, int) else None

    @property
    def embedding_length(self) -> int | None:
        """Return the length of a token's vector."""
        found = self.metadata.get(f"{self.architecture}.embedding_length")
        return found if isinstance(found, int) else None

    def text(self, key: str) -> str | None:
        """Return a text value, None where there is none."""
        found = self.metadata.get(key)
        return found if isinstance(found, str) else None


def read_header(path: Path, *, longest_kept: int = LONGEST_KEPT_ARRAY) -> Header:
    """Read a file's header; arrays of more items than ``longest_kept`` are skipped.

    Raises:
        IntegrityError: not a GGUF file that we can read; says where and why.
        OSError: the file cannot be opened.
    """
    with open(path, "rb", opener=_open_at_once) as file:
        return parse_header(Reader(file, path), longest_kept)


def read_headers(shards: Sequence[Path]) -> Header:
    """Read all files of a split model as one: the first one's metadata, everybody's tensors.

    Raises:
        IntegrityError: one is not a GGUF file that we can read.
        OSError: one cannot be opened.
    """
    headers = [read_header(shard) for shard in shards]
    tensors = {name: tensor for header in headers for name, tensor in header.tensors.items()}
    return replace(headers[0], tensors=tensors)


def parse_header(reader: Reader, longest_kept: int = LONGEST_KEPT_ARRAY) -> Header:
    """Read a header from where the reader stands.

    Raises:
        IntegrityError: it is damaged; says where and why.
    """
    _check_version(reader)
    num_tensors = reader.bounded(MOST_TENSORS, "tensors")
    num_pairs = reader.bounded(MOST_PAIRS, "metadata pairs")
    metadata = _metadata(reader, num_pairs, longest_kept)
    tensors = _tensors(reader, num_tensors)
    alignment = _alignment(reader, metadata)
    return Header(metadata, tensors, -(-reader.position // alignment) * alignment)


def _open_at_once(path: str, flags: int) -> int:
    """Open without waiting: a pipe without a writer would hold us for ever."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _check_version(reader: Reader) -> None:
    if reader.take(4) != MAGIC:
        raise reader.damaged("it does not begin with GGUF")
    version = reader.number(SCALARS[4])
    if int.from_bytes(version.to_bytes(4, "little"), "big") in VERSIONS:
        raise reader.damaged("a big-endian file, which llama.cpp does not load on this machine")
    if version not in VERSIONS:
        raise reader.damaged(f"version {version}, not 2 or 3")


def _metadata(reader: Reader, num_pairs: int, longest_kept: int) -> dict[str, Value]:
    metadata: dict[str, Value] = {}
    for _ in range(num_pairs):
        key = reader.string(LONGEST_KEY)
        if key in metadata:
            raise reader.damaged(f"a second value of {key[:100]!r}")
        reader.charge(sys.getsizeof(key) + ITEM_BYTES)
        metadata[key] = _value(
            reader, reader.number(SCALARS[4]), _Arrays(DEEPEST_ARRAY, longest_kept)
        )
    return metadata


@dataclass(frozen=True, slots=True)
class _Arrays:
    """How deep arrays may lie in each other, and the longest that is kept."""

    depth: int
    longest_kept: int

    @property
    def inner(self) -> _Arrays:
        """Return what holds for the items."""
        return _Arrays(self.depth - 1, self.longest_kept)


def _value(reader: Reader, kind: int, arrays: _Arrays) -> Value:
    if kind == STRING:
        text = reader.string()
        reader.charge(sys.getsizeof(text))
        return text
    if kind == ARRAY and arrays.depth > 0:
        return _array(reader, arrays.inner)
    if kind not in SCALARS:
        raise reader.damaged(f"unknown or too deeply nested value type {kind}")
    return reader.number(SCALARS[kind])


def _array(reader: Reader, arrays: _Arrays) -> Value:
    kind = reader.number(SCALARS[4])
    length = reader.bounded(LONGEST_ARRAY, "elements of an array")
    if length <= arrays.longest_kept:
        reader.charge((1 + length) * ITEM_BYTES)
        return [_value(reader, kind, arrays) for _ in range(length)]
    if kind in SCALARS:
        reader.skip(length * SCALARS[kind].size)
    elif kind == STRING:
        reader.skip_strings(length)
    else:
        raise reader.damaged("a long array of arrays")
    return SkippedArray(length)


def _tensors(reader: Reader, num_tensors: int) -> dict[str, GgufTensor]:
    tensors: dict[str, GgufTensor] = {}
    for _ in range(num_tensors):
        name = reader.string(LONGEST_NAME)
        if name in tensors:
            raise reader.damaged(f"a second tensor {name!r}")
        reader.charge(TENSOR_BYTES)
        tensors[name] = _tensor(reader)
    return tensors


def _tensor(reader: Reader) -> GgufTensor:
    num_dimensions = reader.number(SCALARS[4])
    if num_dimensions > MOST_DIMENSIONS:
        raise reader.damaged(f"a tensor of {num_dimensions} dimensions")
    sizes = tuple(reader.number() for _ in range(num_dimensions))
    if math.prod(sizes) > MOST_ELEMENTS:
        raise reader.damaged(f"a tensor of {' x '.join(map(str, sizes))} numbers")
    return GgufTensor(sizes, reader.number(SCALARS[4]), reader.number())


def _alignment(reader: Reader, metadata: Mapping[str, Value]) -> int:
    found = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
    if isinstance(found, int) and 0 < found <= LARGEST_ALIGNMENT and found.bit_count() == 1:
        return found
    raise reader.damaged(f"an alignment of {found}")
