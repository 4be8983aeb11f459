"""SHA-256 with a state that can be saved, so that a resumed download is not read again.

Python's hashlib cannot export its state. The OpenSSL that hashlib uses can: its ``SHA256_CTX`` is
plain memory (FIPS 180-4 words, length, open block). If that library cannot be loaded, hashlib
does the hashing and there is no state to save.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib
import struct
from functools import cache
from typing import Protocol

BLOCK_BYTES = 64
WORDS = struct.Struct("8I")
KNOWN = b"abc" * 100


class Hash(Protocol):
    """Incremental SHA-256 as downloads need it."""

    @property
    def length(self) -> int:
        """Return the number of hashed bytes."""

    def update(self, data: memoryview) -> None:
        """Hash more bytes."""

    def hexdigest(self) -> str:
        """Return the digest; no bytes can be added afterwards."""

    def state(self) -> str | None:
        """Return the state as hex digits, or None if it cannot be saved now."""


def new_hash() -> Hash:
    """Return a hash of no bytes."""
    library = _openssl()
    return PlainHash() if library is None else ResumableHash(library)


def resume_hash(state: str, length: int) -> Hash | None:
    """Return a hash that has seen ``length`` bytes, or None if states cannot be restored.

    Raises:
        ValueError: ``state`` is malformed.
    """
    library = _openssl()
    words = bytes.fromhex(state)
    if len(words) != WORDS.size or length % BLOCK_BYTES or length < 0:
        raise ValueError(f"not a SHA-256 state after {length} bytes")
    if library is None:
        return None
    hashed = ResumableHash(library)
    hashed.restore(words, length)
    return hashed


class PlainHash:
    """Hash by hashlib: as fast, but without a state."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.length = 0

    def update(self, data: memoryview) -> None:
        """Hash more bytes."""
        self._hash.update(data)
        self.length += len(data)

    def hexdigest(self) -> str:
        """Return the digest."""
        return self._hash.hexdigest()

    def state(self) -> str | None:
        """Return None: hashlib has no state to save."""
        return None


class _Context(ctypes.Structure):
    """``SHA256state_st`` of openssl/sha.h, the same in OpenSSL 0.9.8 to 3 and its forks."""

    _fields_ = (
        ("h", ctypes.c_uint32 * 8),
        ("bits_low", ctypes.c_uint32),
        ("bits_high", ctypes.c_uint32),
        ("data", ctypes.c_uint32 * 16),
        ("num", ctypes.c_uint),
        ("md_len", ctypes.c_uint),
        ("spare", ctypes.c_uint8 * 256),  # in case a fork's structure is larger
    )


class ResumableHash:
    """Hash by OpenSSL's functions, which run without the GIL."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        self._context = _Context()
        library.SHA256_Init(ctypes.byref(self._context))
        self.length = 0

    def update(self, data: memoryview) -> None:
        """Hash more bytes of a writable buffer."""
        start = (ctypes.c_char * len(data)).from_buffer(data)
        self._library.SHA256_Update(ctypes.byref(self._context), start, ctypes.c_size_t(len(data)))
        self.length += len(data)

    def hexdigest(self) -> str:
        """Return the digest."""
        out = (ctypes.c_uint8 * 32)()
        self._library.SHA256_Final(out, ctypes.byref(self._context))
        return bytes(out).hex()

    def state(self) -> str | None:
        """Return the eight words, or None inside a block of 64 bytes."""
        if self._context.num != 0:
            return None
        return WORDS.pack(*self._context.h).hex()

    def restore(self, words: bytes, length: int) -> None:
        """Continue after ``length`` bytes, a multiple of the block size."""
        self._context.h[:] = WORDS.unpack(words)
        bits = length * 8
        self._context.bits_low = bits & 0xFFFFFFFF
        self._context.bits_high = bits >> 32
        self.length = length


@cache
def _openssl() -> ctypes.CDLL | None:
    """Return the OpenSSL library that hashlib uses, or None if it lacks the functions."""
    try:
        library = ctypes.CDLL(importlib.import_module("_hashlib").__file__)
        for name in ("SHA256_Init", "SHA256_Update", "SHA256_Final"):
            getattr(library, name).restype = ctypes.c_int
    except (ImportError, OSError, AttributeError, TypeError):
        return None
    return library if _is_right(library) else None


def _is_right(library: ctypes.CDLL) -> bool:
    """Return whether an interrupted and resumed hash equals the one of hashlib."""
    first = ResumableHash(library)
    first.update(memoryview(bytearray(KNOWN[: 2 * BLOCK_BYTES])))
    state = first.state()
    if state is None:
        return False
    second = ResumableHash(library)
    second.restore(bytes.fromhex(state), first.length)
    second.update(memoryview(bytearray(KNOWN[2 * BLOCK_BYTES :])))
    return second.hexdigest() == hashlib.sha256(KNOWN).hexdigest()
