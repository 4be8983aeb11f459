"""Header of a GGUF file: its metadata, and the shapes and offsets of its tensors.

The file is untrusted: `reader` bounds the time and memory of reading it. Long arrays
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
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from localrun.gguf.reader import Reader

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MAX_PAIRS = 100_000
MAX_TENSORS = 100_000
MAX_DIMENSIONS = 4
MAX_ELEMENTS = 2**63 - 1
LARGEST_ALIGNMENT = 1024 * 1024
DEFAULT_ALIGNMENT = 32
LONGEST_KEY = 65535
LONGEST_NAME = 64  # ggml's own limit for tensors
LONGEST_KEPT_ARRAY = 64
LONGEST_ARRAY = 16 * 1024 * 1024
DEEPEST_ARRAY = 2
MIN_NOTED_ARRAY = 1024  # strings: shorter arrays are walked in a tenth of a millisecond
MAX_NOTED_ARRAYS = 64
ITEM_BYTES = 64  # of a number in a list or a dict of Python, at most
TENSOR_BYTES = 400
NO_ENDS: Mapping[int, int] = MappingProxyType({})
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
FILE_TYPES = {  # llama_ftype: of a file as a whole
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K",
    11: "Q3_K_S", 12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S",
    17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS",
    23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S",
    29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4_MOE",
    39: "NVFP4", 40: "Q1_0", 41: "Q2_0",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class SkippedArray:
    """Placeholder for an array that was too long to keep."""

    length: int
    kind: int = field(default=STRING, compare=False)  # GGUF's number of the items' type


Value = str | int | float | bool | list["Value"] | SkippedArray


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """A tensor's sizes (fastest dimension first), ggml's number of its type, and its offset."""

    sizes: tuple[int, ...]
    kind: int
    offset: int

    @property
    def num_elements(self) -> int:
        """Return the number of elements."""
        return math.prod(self.sizes)


@dataclass(frozen=True, slots=True)
class Header:
    """The header of a GGUF file."""

    metadata: Mapping[str, Value]
    tensors: Mapping[str, GgufTensor]
    data_start: int  # offset of the first tensor's bytes
    array_ends: Mapping[int, int] = field(default_factory=dict)  # of long string arrays, by start

    @property
    def num_tensors(self) -> int:
        """Return the number of tensors."""
        return len(self.tensors)

    @property
    def num_params(self) -> int:
        """Return the number of elements of all tensors."""
        return sum(tensor.num_elements for tensor in self.tensors.values())

    @property
    def architecture(self) -> str:
        """Return llama.cpp's name of the architecture, or "unknown"."""
        name = self.text("general.architecture") or "unknown"
        return name if len(name) <= LONGEST_NAME else "unknown"  # each key is looked up with it

    @property
    def file_type(self) -> str:
        """Return the quantization's name, such as Q4_K_M, or "unknown"."""
        value = self.metadata.get("general.file_type")
        return FILE_TYPES.get(value, "unknown") if isinstance(value, int) else "unknown"

    @property
    def context_length(self) -> int | None:
        """Return the context that the model was trained with, in tokens."""
        value = self.metadata.get(f"{self.architecture}.context_length")
        return value if isinstance(value, int) else None

    @property
    def embedding_length(self) -> int | None:
        """Return the length of a token's vector."""
        value = self.metadata.get(f"{self.architecture}.embedding_length")
        return value if isinstance(value, int) else None

    def text(self, key: str) -> str | None:
        """Return a text value, or None if the key is missing or has another type."""
        value = self.metadata.get(key)
        return value if isinstance(value, str) else None


def read_header(
    path: Path,
    *,
    longest_kept: int = LONGEST_KEPT_ARRAY,
    array_ends: Mapping[int, int] = NO_ENDS,
) -> Header:
    """Read a file's header; arrays of more items than ``longest_kept`` are skipped.

    ``array_ends`` are those of an earlier `Header` of the same file, if known: a vocabulary is then
    skipped without reading the length of each token.

    Raises:
        IntegrityError: not a readable GGUF file, or not the file of ``array_ends``; the message has
            the offset and the reason.
        OSError: the file cannot be opened.
    """
    with open(path, "rb", opener=_open_at_once) as file:
        return parse_header(Reader(file, path), longest_kept, array_ends)


def read_metadata(
    path: Path, array_ends: Mapping[int, int], *, longest_kept: int = LONGEST_KEPT_ARRAY
) -> Mapping[str, Value]:
    """Read a file's metadata without its tensors.

    ``array_ends`` are those of an earlier `Header` of the same file: a vocabulary is then skipped
    without reading the length of each token.

    Raises:
        IntegrityError: not a readable GGUF file, or not the file of ``array_ends``.
        OSError: the file cannot be opened.
    """
    with open(path, "rb", opener=_open_at_once) as file:
        reader = Reader(file, path)
        _check_version(reader)
        reader.bounded(MAX_TENSORS, "tensors")
        num_pairs = reader.bounded(MAX_PAIRS, "metadata pairs")
        return _metadata(reader, num_pairs, _Arrays(longest_kept, dict(array_ends)))


def read_headers(
    shards: Sequence[Path],
    *,
    longest_kept: int = LONGEST_KEPT_ARRAY,
    array_ends: Mapping[int, int] = NO_ENDS,
) -> Header:
    """Read the shards of a split model as one header: the first metadata and all tensors.

    ``array_ends`` are those of the first shard, which has the vocabulary.

    Raises:
        IntegrityError: a shard is not a readable GGUF file.
        OSError: a shard cannot be opened.
    """
    first = read_header(shards[0], longest_kept=longest_kept, array_ends=array_ends)
    others = [read_header(shard, longest_kept=longest_kept) for shard in shards[1:]]
    headers = [first, *others]
    tensors = {name: tensor for header in headers for name, tensor in header.tensors.items()}
    return replace(headers[0], tensors=tensors)


def parse_header(
    reader: Reader,
    longest_kept: int = LONGEST_KEPT_ARRAY,
    array_ends: Mapping[int, int] = NO_ENDS,
    places: dict[str, tuple[int, int]] | None = None,
) -> Header:
    """Read a header at the reader's position.

    ``places`` gets the offsets at which the type and the value of each pair begin and end.

    Raises:
        IntegrityError: the header is damaged; the message has the offset and the reason.
    """
    _check_version(reader)
    num_tensors = reader.bounded(MAX_TENSORS, "tensors")
    num_pairs = reader.bounded(MAX_PAIRS, "metadata pairs")
    arrays = _Arrays(longest_kept, dict(array_ends))
    metadata = _metadata(reader, num_pairs, arrays, places)
    tensors = _tensors(reader, num_tensors)
    alignment = _alignment(reader, metadata)
    data_start = -(-reader.position // alignment) * alignment
    return Header(metadata, tensors, data_start, arrays.ends)


def _open_at_once(path: str, flags: int) -> int:
    """Open without blocking: a pipe without a writer would block for ever."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _check_version(reader: Reader) -> None:
    if reader.take(4) != MAGIC:
        raise reader.damaged("it does not begin with GGUF")
    version = reader.number(SCALARS[4])
    if int.from_bytes(version.to_bytes(4, "little"), "big") in VERSIONS:
        raise reader.damaged("a big-endian file, which llama.cpp does not load on this machine")
    if version not in VERSIONS:
        raise reader.damaged(f"version {version}, not 2 or 3")


@dataclass(frozen=True, slots=True)
class _Arrays:
    """The longest array that is kept, and the ends of long string arrays by their starts."""

    longest_kept: int
    ends: dict[int, int]


def _metadata(
    reader: Reader,
    num_pairs: int,
    arrays: _Arrays,
    places: dict[str, tuple[int, int]] | None = None,
) -> dict[str, Value]:
    """Read the pairs; ``places`` gets where in the file the type and the value of each are."""
    metadata: dict[str, Value] = {}
    for _ in range(num_pairs):
        key = reader.string(LONGEST_KEY)
        if key in metadata:
            raise reader.damaged(f"a second value of {key[:100]!r}")
        reader.charge(sys.getsizeof(key) + ITEM_BYTES)
        start = reader.position
        metadata[key] = _value(reader, reader.number(SCALARS[4]), arrays, DEEPEST_ARRAY)
        if places is not None:
            reader.charge(ITEM_BYTES)
            places[key] = start, reader.position
    return metadata


def _value(reader: Reader, kind: int, arrays: _Arrays, depth: int) -> Value:
    """Read a value; ``depth`` levels of nested arrays are left."""
    if kind == STRING:
        text = reader.string()
        reader.charge(sys.getsizeof(text))
        return text
    if kind == ARRAY and depth > 0:
        return _array(reader, arrays, depth - 1)
    if kind not in SCALARS:
        raise reader.damaged(f"unknown or too deeply nested value type {kind}")
    return reader.number(SCALARS[kind])


def _array(reader: Reader, arrays: _Arrays, depth: int) -> Value:
    kind = reader.number(SCALARS[4])
    length = reader.bounded(LONGEST_ARRAY, "elements of an array")
    if length <= arrays.longest_kept:
        reader.charge((1 + length) * ITEM_BYTES)
        return [_value(reader, kind, arrays, depth) for _ in range(length)]
    if kind in SCALARS:
        reader.skip(length * SCALARS[kind].size)
    elif kind == STRING:
        _skip_strings(reader, length, arrays)
    else:
        raise reader.damaged("a long array of arrays")
    return SkippedArray(length, kind)


def _skip_strings(reader: Reader, length: int, arrays: _Arrays) -> None:
    start = reader.position
    if start in arrays.ends:
        reader.skip(max(0, arrays.ends[start] - start))
        return
    reader.skip_strings(length)
    if length >= MIN_NOTED_ARRAY and len(arrays.ends) < MAX_NOTED_ARRAYS:
        arrays.ends[start] = reader.position


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
    if num_dimensions > MAX_DIMENSIONS:
        raise reader.damaged(f"a tensor of {num_dimensions} dimensions")
    sizes = tuple(reader.number() for _ in range(num_dimensions))
    if math.prod(sizes) > MAX_ELEMENTS:
        raise reader.damaged(f"a tensor of {' x '.join(map(str, sizes))} numbers")
    return GgufTensor(sizes, reader.number(SCALARS[4]), reader.number())


def _alignment(reader: Reader, metadata: Mapping[str, Value]) -> int:
    value = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
    if isinstance(value, int) and 0 < value <= LARGEST_ALIGNMENT and value.bit_count() == 1:
        return value
    raise reader.damaged(f"an alignment of {value}")
