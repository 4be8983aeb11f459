"""Break off a decode from another thread.

llama.cpp asks ``strlen`` of two bytes whether to go on: no Python, no GIL.
"""

from __future__ import annotations

import ctypes

import llama_cpp
from llama_cpp import llama_cpp as api


class AbortFlag:
    """Two bytes whose ``strlen`` llama.cpp asks; safe from any thread."""

    def __init__(self, handle: object) -> None:
        self._bytes = ctypes.create_string_buffer(2)
        libc = ctypes.CDLL(None)
        self._callback = ctypes.cast(libc.strlen, api.ggml_abort_callback)
        address = ctypes.cast(self._bytes, ctypes.c_void_p)
        llama_cpp.llama_set_abort_callback(handle, self._callback, address)

    def set(self) -> None:
        """Let the decode that runs, or else the next one, be broken off."""
        self._bytes[0] = b"\x01"

    def clear(self) -> None:
        """Let it go on."""
        self._bytes[0] = b"\x00"
