"""GGUF files of any size for benchmarks, with a valid header and one random tensor."""

from __future__ import annotations

import hashlib
import os
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

ALIGNMENT, CHUNK_BYTES, I8 = 32, 16 << 20, 24


def make_model(path: Path, size: int) -> str:
    """Write a header and random bytes as its one tensor; return the digest of the file."""
    path.parent.mkdir(parents=True)
    header = _header(size)
    hashed, left = hashlib.sha256(header), size - len(header)
    with path.open("wb") as file:
        file.write(header)
        while left > 0:
            chunk = os.urandom(min(CHUNK_BYTES, left))
            hashed.update(chunk)
            file.write(chunk)
            left -= len(chunk)
        file.flush()
        os.fsync(file.fileno())
    return hashed.hexdigest()


def _header(size: int) -> bytes:
    """Return the padded GGUF header of a file of ``size`` bytes with one tensor of bytes."""
    architecture = _text("general.architecture") + struct.pack("<I", 8) + _text("llama")
    begin = b"GGUF" + struct.pack("<IQQ", 3, 1, 1) + architecture + _text("padding")
    length = len(begin) + struct.calcsize("<IQIQ")
    padded = -(-length // ALIGNMENT) * ALIGNMENT
    return (begin + struct.pack("<IQIQ", 1, size - padded, I8, 0)).ljust(padded, b"\0")


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()
