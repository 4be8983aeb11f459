"""Scratch memory of ggml's CPU backend, aligned to cache lines.

Operators keep intermediate numbers in one buffer of their backend: tiles of keys and values, rows
that are quantized for a product. ggml allocates it with ``new uint8_t[]``, which is aligned to 16
bytes only, so that each load of a vector of 64 bytes may touch two cache lines. On Linux each CPU
backend gets aligned memory instead, before its first graph, and larger than graphs ask for. Memory
that no graph touches takes no page.

ggml has no option for this: `init_backend` of the CPU's device is replaced, which llama.cpp and
libmtmd call for each context:

    ggml_backend_device         get_name, ..., init_backend, ..., then reg and context
    ggml_backend                guid, 16 functions, device, context
    ggml_backend_cpu_context    n_threads, threadpool, work_data, work_size, abort callback

Invariant: ``work_data`` is memory that ``free`` accepts, since ggml deletes it (``delete[]``) with
its backend, or when a graph needs more. The structures are private to ggml; their fields are
verified with a backend first, and if any differs, nothing is replaced.
"""

from __future__ import annotations

import ctypes
import logging
import sys
from functools import cache
from typing import Any

from localrun.engine.llama.ggml import function_address, ggml_functions

_log = logging.getLogger(__name__)

CACHE_LINE_BYTES = 64
SCRATCH_BYTES = 64 << 20  # of address space: graphs of 512 tokens touch 3 to 30 MiB
MARK = 0x5A
NUM_FUNCTIONS = 16  # of a backend
POINTER = ctypes.c_void_p
INIT = ctypes.CFUNCTYPE(POINTER, POINTER, ctypes.c_char_p)
SET_NUM_THREADS = ctypes.CFUNCTYPE(None, POINTER, ctypes.c_int)
SET_ABORT = ctypes.CFUNCTYPE(None, POINTER, POINTER, POINTER)


class _Device(ctypes.Structure):
    """``struct ggml_backend_device``."""

    _fields_ = (
        ("get_name", POINTER),
        ("get_description", POINTER),
        ("get_memory", POINTER),
        ("get_type", POINTER),
        ("get_props", POINTER),
        ("init_backend", POINTER),
        ("get_buffer_type", POINTER),
        ("get_host_buffer_type", POINTER),
        ("buffer_from_host_ptr", POINTER),
        ("supports_op", POINTER),
        ("supports_buft", POINTER),
        ("offload_op", POINTER),
        ("events", POINTER * 3),
        ("reg", POINTER),
    )


class _Backend(ctypes.Structure):
    """``struct ggml_backend``."""

    _fields_ = (
        ("guid", POINTER),
        ("functions", POINTER * NUM_FUNCTIONS),
        ("device", POINTER),
        ("context", POINTER),
    )


class _CpuContext(ctypes.Structure):
    """``struct ggml_backend_cpu_context``."""

    _fields_ = (
        ("n_threads", ctypes.c_int),
        ("threadpool", POINTER),
        ("work_data", POINTER),
        ("work_size", ctypes.c_size_t),
        ("abort_callback", POINTER),
        ("abort_callback_data", POINTER),
    )


def align_scratch() -> None:
    """Let CPU backends that are created from now on have aligned scratch memory.

    The backends must be loaded. Nothing is done on other systems, with versions of ggml that this
    does not fit, and by further calls.
    """
    _installed_hook()


@cache
def _installed_hook() -> _Hook | None:
    hook = _Hook() if sys.platform == "linux" else None
    if hook is not None and not hook.fits():
        _log.warning("scratch memory is not aligned: this ggml has other structures")
        return None
    if hook is not None:
        hook.install()
    return hook


class _Hook:
    """The replaced function; it lives as long as the process."""

    def __init__(self) -> None:
        self._ggml = ggml_functions()
        self._handle = self._ggml.ggml_backend_dev_by_name(b"CPU")
        self._allocate = _posix_memalign()

    def fits(self) -> bool:
        """Return whether ggml's structures are those of this module, verified with a backend."""
        device = _Device.from_address(self._handle)
        if device.reg != self._ggml.ggml_backend_dev_backend_reg(self._handle):
            return False
        if not self._is_called(device):
            return False
        backend = self._ggml.ggml_backend_dev_init(self._handle, None)
        if not backend:
            return False
        try:
            return self._describes(backend)
        finally:
            self._ggml.ggml_backend_free(backend)

    def install(self) -> None:
        """Replace `init_backend` of the CPU's device."""
        device = _Device.from_address(self._handle)
        self._ordinary_init = INIT(device.init_backend)
        self._init = INIT(self._init_backend)
        device.init_backend = function_address(self._init)

    def _is_called(self, device: _Device) -> bool:
        """Return whether a backend is created by the function that would be replaced."""
        calls: list[object] = []
        recording = INIT(lambda handle, params: calls.append((handle, params)))
        ordinary, device.init_backend = device.init_backend, function_address(recording)
        self._ggml.ggml_backend_dev_init(self._handle, None)
        device.init_backend = ordinary
        return calls == [(self._handle, None)]

    def _describes(self, backend: int) -> bool:
        """Return whether a backend's fields are where this module expects them."""
        fields = _Backend.from_address(backend)
        if fields.device != self._handle or not fields.context:
            return False
        reg = _Device.from_address(self._handle).reg
        address = self._ggml.ggml_backend_reg_get_proc_address
        set_num_threads = address(reg, b"ggml_backend_set_n_threads")
        set_abort = address(reg, b"ggml_backend_set_abort_callback")
        if not (set_num_threads and set_abort):
            return False
        SET_NUM_THREADS(set_num_threads)(backend, MARK)
        SET_ABORT(set_abort)(backend, MARK + 1, MARK + 2)
        context = _CpuContext.from_address(fields.context)
        marks = (context.n_threads, context.abort_callback, context.abort_callback_data)
        unset = (context.threadpool, context.work_data, context.work_size)
        return marks == (MARK, MARK + 1, MARK + 2) and unset == (None, None, 0)

    def _init_backend(self, device: int, params: bytes | None) -> int | None:
        backend: int | None = self._ordinary_init(device, params)
        memory = POINTER()
        if backend and self._allocate(ctypes.byref(memory), CACHE_LINE_BYTES, SCRATCH_BYTES) == 0:
            context = _CpuContext.from_address(_Backend.from_address(backend).context)
            context.work_data, context.work_size = memory.value, SCRATCH_BYTES
        return backend


def _posix_memalign() -> Any:  # noqa: ANN401 - a ctypes function
    function = ctypes.CDLL(None).posix_memalign
    function.argtypes = [ctypes.POINTER(POINTER), ctypes.c_size_t, ctypes.c_size_t]
    return function
