"""Read the header of a GGUF file: metadata and the sizes of its tensors.

The file is untrusted. Nothing is allocated by a length that the file states
before that many bytes were seen, and the header as a whole is bounded, so that a
lying file costs little time and memory. Long arrays (vocabularies) are skipped;
only their length is kept.

    "GGUF" u32 version  u64 tensors  u64 pairs
    pair   = string key, u32 type, value
    tensor = string name, u32 dimensions, u64 size * dimensions, u32 type, u64 offset

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from localrun.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MOST_PAIRS = 100_000
MOST_TENSORS = 1_000_000
MOST_DIMENSIONS = 4
LONGEST_STRING = 16 * 1024 * 1024  # chat templates are some 10 KB
LONGEST_KEPT_ARRAY = 64
LONGEST_ARRAY = 16 * 1024 * 1024
DEEPEST_ARRAY = 2
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
FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K",
    11: "Q3_K_S", 12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S",
    17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS",
    23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S",
    29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class SkippedArray:
    """Stands for an array that was too long to keep."""

    length: int


Value = str | int | float | bool | list["Value"] | SkippedArray


@dataclass(frozen=True, slots=True)
class Header:
    """What a GGUF file says of itself."""

    metadata: Mapping[str, Value]
    num_tensors: int
    num_params: int

    @property
    def architecture(self) -> str:
        """Return llama.cpp's name of the architecture, or "unknown"."""
        return self.text("general.architecture") or "unknown"

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

    def text(self, key: str) -> str | None:
        """Return a text value, None where there is none."""
        found = self.metadata.get(key)
        return found if isinstance(found, str) else None


def read_header(path: Path) -> Header:
    """Read a file's header.

    Raises:
        IntegrityError: not a GGUF file that we can read; says where and why.
        OSError: the file cannot be opened.
    """
    with path.open("rb") as file:
        reader = _Reader(file, path)
        try:
            return _read(reader)
        except (struct.error, UnicodeDecodeError, OverflowError) as error:
            raise reader.damaged(str(error)) from error


class _Reader:
    """The file with a position, and errors that tell it."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._path = path
        self._size = path.stat().st_size

    def damaged(self, reason: str) -> IntegrityError:
        return IntegrityError(
            f"{self._path} is not a readable GGUF file: at byte {self._file.tell()}: {reason}"
        )

    def take(self, size: int) -> bytes:
        self._require(size)
        return self._file.read(size)

    def skip(self, size: int) -> None:
        self._require(size)
        self._file.seek(size, 1)

    def _require(self, size: int) -> None:
        """Refuse a length that the file does not have, before memory is taken for it."""
        if self._file.tell() + size > self._size:
            raise self.damaged("the file ends before what it announces")

    def number(self, kind: int = 10) -> int:
        value: int = SCALARS[kind].unpack(self.take(SCALARS[kind].size))[0]
        return value

    def bounded(self, most: int, what: str) -> int:
        value = self.number()
        if value > most:
            raise self.damaged(f"{value} {what}, more than the {most} that are sensible")
        return value

    def string(self) -> str:
        return self.take(self.bounded(LONGEST_STRING, "bytes of text")).decode()


def _read(reader: _Reader) -> Header:
    if reader.take(4) != MAGIC:
        raise reader.damaged("it does not begin with GGUF")
    version = reader.number(4)
    if version not in VERSIONS:
        raise reader.damaged(f"version {version} (or another byte order), not 2 or 3")
    num_tensors = reader.bounded(MOST_TENSORS, "tensors")
    num_pairs = reader.bounded(MOST_PAIRS, "metadata pairs")
    metadata: dict[str, Value] = {}
    for _ in range(num_pairs):
        key = reader.string()
        metadata[key] = _value(reader, reader.number(4), DEEPEST_ARRAY)
    return Header(metadata, num_tensors, sum(_tensor_size(reader) for _ in range(num_tensors)))


def _value(reader: _Reader, kind: int, depth: int) -> Value:
    if kind == STRING:
        return reader.string()
    if kind == ARRAY and depth > 0:
        return _array(reader, depth - 1)
    if kind not in SCALARS:
        raise reader.damaged(f"unknown or too deeply nested value type {kind}")
    value: Value = SCALARS[kind].unpack(reader.take(SCALARS[kind].size))[0]
    return value


def _array(reader: _Reader, depth: int) -> Value:
    kind = reader.number(4)
    length = reader.bounded(LONGEST_ARRAY, "elements of an array")
    if length <= LONGEST_KEPT_ARRAY:
        return [_value(reader, kind, depth) for _ in range(length)]
    if kind in SCALARS:
        reader.skip(length * SCALARS[kind].size)
    elif kind == STRING:
        for _ in range(length):
            reader.skip(reader.bounded(LONGEST_STRING, "bytes of text"))
    else:
        raise reader.damaged("a long array of arrays")
    return SkippedArray(length)


def _tensor_size(reader: _Reader) -> int:
    """Return the number of elements of the next tensor."""
    reader.string()
    num_dimensions = reader.number(4)
    if num_dimensions > MOST_DIMENSIONS:
        raise reader.damaged(f"a tensor of {num_dimensions} dimensions")
    size = math.prod(reader.number() for _ in range(num_dimensions))
    reader.number(4)
    reader.number()
    return size
