"""Write small GGUF headers for tests, right ones and wrong ones."""

from __future__ import annotations

import struct

U8, I32, U32, F32, BOOL, STRING, ARRAY, U64 = 0, 5, 4, 6, 7, 8, 9, 10
FORMATS = {U8: "<B", I32: "<i", U32: "<I", F32: "<f", BOOL: "<?", U64: "<Q"}

Plain = str | float | bool


def text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def value(kind: int, content: Plain) -> bytes:
    return text(str(content)) if kind == STRING else struct.pack(FORMATS[kind], content)


def pair(key: str, kind: int, content: Plain) -> bytes:
    return text(key) + struct.pack("<I", kind) + value(kind, content)


def array(key: str, kind: int, contents: list[Plain]) -> bytes:
    head = text(key) + struct.pack("<IIQ", ARRAY, kind, len(contents))
    return head + b"".join(value(kind, content) for content in contents)


def tensor(name: str, sizes: list[int]) -> bytes:
    shape = struct.pack(f"<I{len(sizes)}Q", len(sizes), *sizes)
    return text(name) + shape + struct.pack("<IQ", 0, 0)


def header(pairs: list[bytes], tensors: list[bytes] | None = None, version: int = 3) -> bytes:
    """Return the bytes of a file that has only a header."""
    tensors = tensors or []
    counts = struct.pack("<4sIQQ", b"GGUF", version, len(tensors), len(pairs))
    return counts + b"".join(pairs) + b"".join(tensors)
