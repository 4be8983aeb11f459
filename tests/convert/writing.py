"""Write safetensors files for tests, right ones and wrong ones."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Array = np.ndarray[Any, np.dtype[Any]]
TYPES = {"float32": "F32", "float16": "F16", "uint16": "BF16", "int64": "I64", "uint8": "U8"}


def bfloat16(values: Array) -> Array:
    """Return the upper halves of the float32 values, whose lower halves must be zero."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    assert not (bits & 0xFFFF).any()
    return (bits >> 16).astype(np.uint16)


def safetensors(header: object, data: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(dtype: str, shape: list[int], start: int, end: int) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def write_tensors(path: Path, tensors: Mapping[str, Array]) -> None:
    """Write arrays, uint16 ones as BF16."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, array in tensors.items():
        end = len(data) + array.nbytes
        kind = "F8_E4M3" if f"{name}_scale_inv" in tensors else TYPES[array.dtype.name]
        header[name] = entry(kind, list(array.shape), len(data), end)
        data += np.ascontiguousarray(array).tobytes()
    path.write_bytes(safetensors(header, data))
