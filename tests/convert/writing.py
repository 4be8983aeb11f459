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
TYPES = {"float32": "F32", "float16": "F16", "uint16": "BF16", "int64": "I64", "uint8": "U8",
         "int32": "I32"}  # fmt: skip


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


def _is_fp8(name: str, array: Array, tensors: Mapping[str, Array]) -> bool:
    """Return whether bytes are values in FP8: those of a scaled matrix, and the scales of NVFP4."""
    scale = tensors.get(f"{name}_scale_inv", tensors.get(f"{name}_scale"))
    is_scaled = scale is not None and scale.dtype != np.uint8
    return array.dtype == np.uint8 and (is_scaled or name.endswith(".weight_scale"))


def write_tensors(path: Path, tensors: Mapping[str, Array]) -> None:
    """Write arrays, uint16 ones as BF16."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, array in tensors.items():
        end = len(data) + array.nbytes
        kind = "F8_E4M3" if _is_fp8(name, array, tensors) else TYPES[array.dtype.name]
        header[name] = entry(kind, list(array.shape), len(data), end)
        data += np.ascontiguousarray(array).tobytes()
    path.write_bytes(safetensors(header, data))
