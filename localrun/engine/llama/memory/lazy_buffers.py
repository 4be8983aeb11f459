"""Lazy buffers: memory of a llama.cpp context that is taken page by page, at the first write.

llama.cpp fills the KV cache, the recurrent states and the logits of a new context with zeros, so
that all of them take memory, and time, before the first token. On Linux the kernel can do it
instead: pages that a process returns (madvise, MADV_DONTNEED) read as zeros and take memory when
they are written again.

ggml has no option for this. While a context opens, `alloc_buffer` of the CPU's buffer type is
replaced, and each buffer that it allocates gets another `clear`:

    ggml_backend_buffer_type    get_name, alloc_buffer, get_alignment, ..., is_host
    ggml_backend_buffer         free_buffer, ..., clear, reset, then type, base and size

Invariant: a cleared buffer reads as zeros. The structures are private to ggml and are verified
with a small buffer first; if anything differs, nothing is replaced. GPU memory is not affected.
"""

from __future__ import annotations

import ctypes
import logging
import mmap
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from localrun.engine.llama.ggml import function_address, ggml_functions
from localrun.engine.llama.memory.advice import Advice, advise

if TYPE_CHECKING:
    from collections.abc import Iterator

_log = logging.getLogger(__name__)

MIN_BYTES = 1024 * 1024  # a smaller buffer is zeroed at once
PROBE_BYTES = 64 * 1024
MARK = 0x5A
POINTER = ctypes.c_void_p
ALLOC = ctypes.CFUNCTYPE(POINTER, POINTER, ctypes.c_size_t)
CLEAR = ctypes.CFUNCTYPE(None, POINTER, ctypes.c_uint8)


class _BufferType(ctypes.Structure):
    """``struct ggml_backend_buffer_type``."""

    _fields_ = (
        ("get_name", POINTER),
        ("alloc_buffer", POINTER),
        ("get_alignment", POINTER),
        ("get_max_size", POINTER),
        ("get_alloc_size", POINTER),
        ("is_host", POINTER),
        ("device", POINTER),
        ("context", POINTER),
    )


class _Buffer(ctypes.Structure):
    """``struct ggml_backend_buffer``."""

    _fields_ = (
        ("before_clear", POINTER * 9),
        ("clear", POINTER),
        ("reset", POINTER),
        ("type", POINTER),
        ("context", POINTER),  # the address of the memory, in a buffer of the CPU
        ("size", ctypes.c_size_t),
    )


FILLED = (True, True, True, False, False, True, False, False)  # fields of the CPU's buffer type


@dataclass(slots=True)
class LazyBytes:
    """Bytes of the CPU's buffers that were allocated while a context opened."""

    num_bytes: int = 0  # of lazy buffers
    num_all_bytes: int = 0  # and of compute buffers


@contextmanager
def lazy_buffers() -> Iterator[LazyBytes]:
    """Let the contexts that open inside the block take their memory when they use it.

    Only one thread may be inside. Without support for it, `LazyBytes.num_bytes` stays 0.
    """
    counted = LazyBytes()
    hooks = _verified_hooks()
    if hooks is None:
        yield counted
        return
    hooks.install(counted)
    try:
        yield counted
    finally:
        hooks.remove()


@cache
def _verified_hooks() -> _Hooks | None:
    """Return the hooks, or None on systems and versions of ggml that they do not fit."""
    hooks = _Hooks() if sys.platform == "linux" else None
    if hooks is not None and not hooks.fit():
        _log.warning("the memory of contexts is taken at once: this ggml has other structures")
        return None
    return hooks


class _Hooks:
    """The replaced functions; they live as long as the process, as its buffers may."""

    def __init__(self) -> None:
        self._ggml = ggml_functions()
        self._handle = self._ggml.ggml_backend_cpu_buffer_type()
        self._type = _BufferType.from_address(self._handle)
        self._alloc = ALLOC(self._allocate)
        self._clear = CLEAR(self._zero)
        self._ordinary_alloc = ALLOC(self._type.alloc_buffer)
        self._counted = LazyBytes()

    def install(self, counted: LazyBytes) -> None:
        """Replace `alloc_buffer`; lazy bytes are added to ``counted``."""
        self._counted = counted
        self._type.alloc_buffer = function_address(self._alloc)

    def remove(self) -> None:
        """Restore `alloc_buffer`."""
        self._type.alloc_buffer = function_address(self._ordinary_alloc)

    def fit(self) -> bool:
        """Return whether ggml's structures are those of this module, verified with a buffer."""
        found = tuple(getattr(self._type, field) is not None for field, _ in _BufferType._fields_)
        if found != FILLED:  # calling another function than expected would crash
            return False
        name = ctypes.CFUNCTYPE(ctypes.c_char_p, POINTER)(self._type.get_name)
        alignment = ctypes.CFUNCTYPE(ctypes.c_size_t, POINTER)(self._type.get_alignment)
        ggml, handle = self._ggml, self._handle
        if (name(handle), alignment(handle)) != (
            ggml.ggml_backend_buft_name(handle),
            ggml.ggml_backend_buft_get_alignment(handle),
        ):
            return False
        buffer = ggml.ggml_backend_buft_alloc_buffer(handle, PROBE_BYTES)
        if not buffer:
            return False
        try:
            return self._describes(buffer) and self._clears(buffer)
        finally:
            ggml.ggml_backend_buffer_free(buffer)

    def _describes(self, buffer: int) -> bool:
        ggml, fields = self._ggml, _Buffer.from_address(buffer)
        return (fields.type, fields.context, fields.size) == (
            ggml.ggml_backend_buffer_get_type(buffer),
            ggml.ggml_backend_buffer_get_base(buffer),
            ggml.ggml_backend_buffer_get_size(buffer),
        )

    def _clears(self, buffer: int) -> bool:
        """Return whether `clear` of a buffer can be replaced, and leaves zeros."""
        calls: list[int] = []
        counting = CLEAR(lambda _buffer, value: calls.append(value))
        fields = _Buffer.from_address(buffer)
        ordinary, fields.clear = fields.clear, function_address(counting)
        self._ggml.ggml_backend_buffer_clear(buffer, MARK)
        fields.clear = ordinary
        ctypes.memset(fields.context, MARK, fields.size)
        return (
            calls == [MARK]
            and self._return_pages(fields.context, fields.size)
            and not any(ctypes.string_at(fields.context, fields.size))
        )

    def _allocate(self, handle: int, size: int) -> int | None:
        buffer: int | None = self._ordinary_alloc(handle, size)
        if buffer and size >= MIN_BYTES:
            _Buffer.from_address(buffer).clear = function_address(self._clear)
            self._counted.num_all_bytes += size
        return buffer

    def _zero(self, buffer: int, value: int) -> None:
        fields = _Buffer.from_address(buffer)
        if value == 0 and self._return_pages(fields.context, fields.size):
            self._counted.num_bytes += fields.size
        else:
            ctypes.memset(fields.context, value, fields.size)

    def _return_pages(self, base: int, size: int) -> bool:
        """Zero memory by returning its whole pages; return False if the kernel refuses."""
        first = -(-base // mmap.PAGESIZE) * mmap.PAGESIZE
        end = base + size
        last = end // mmap.PAGESIZE * mmap.PAGESIZE
        if last <= first or not advise(first, last - first, Advice.DONT_NEED):
            return False
        advise(first, last - first, Advice.NO_HUGE_PAGE)  # else they take 2 MiB for a cell
        ctypes.memset(base, 0, first - base)
        ctypes.memset(last, 0, end - last)
        return True
