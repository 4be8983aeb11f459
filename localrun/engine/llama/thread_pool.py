"""Threads that compute from one forward pass to the next, in builds of llama.cpp without OpenMP.

Such a build creates and ends its threads in every forward pass, unless a pool is attached to the
context: 0.15 ms of a step with two threads, and more with each further thread. OpenMP keeps its
threads itself. All contexts of a process share one pool: the threads of a second one would spin
while the first computes.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import llama_cpp

from localrun.engine.llama import ggml

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_THREADS = 512  # GGML_MAX_N_THREADS
POLL = 1  # spin for some 5 ms before sleeping: longer than the time between two steps
_shared: list[ThreadPool] = []  # the pool of this process, once there is one


class _Params(ctypes.Structure):
    """``struct ggml_threadpool_params``."""

    _fields_ = (
        ("cpumask", ctypes.c_bool * MAX_THREADS),
        ("n_threads", ctypes.c_int),
        ("prio", ctypes.c_int),
        ("poll", ctypes.c_uint32),
        ("strict_cpu", ctypes.c_bool),
        ("paused", ctypes.c_bool),
    )


class ThreadPool:
    """A number of threads, which sleep between forward passes; they live as long as the process.

    Not thread-safe: the contexts that use it must compute in one thread.
    """

    def __init__(self, num_threads: int) -> None:
        self.num_threads = num_threads
        functions, params = ggml.ggml_functions(), _Params()
        functions.ggml_threadpool_params_init(ctypes.byref(params), num_threads)
        params.poll = POLL
        self._handle = _creator()(ctypes.byref(params))

    def attach(self, context: object) -> None:
        """Let a context compute with these threads from its next forward pass on."""
        ggml.ggml_functions().llama_attach_threadpool(context, self._handle, self._handle)

    def detach(self, context: object) -> None:
        """Let a context create threads for each forward pass."""
        ggml.ggml_functions().llama_attach_threadpool(context, None, None)


def shared_pool(num_threads: int) -> ThreadPool | None:
    """Return the pool of this process for a context of so many threads.

    The first context decides its size. Return None if the context has one thread or more threads
    than the pool, or if the build has OpenMP.
    """
    if num_threads == 1 or has_openmp():
        return None
    if not _shared:
        _shared.append(ThreadPool(num_threads))
    return _shared[0] if num_threads <= _shared[0].num_threads else None


def has_openmp() -> bool:
    """Return whether the loaded backend of the CPU uses OpenMP."""
    return b"OPENMP = 1" in llama_cpp.llama_print_system_info()


def _creator() -> Callable[[Any], int]:
    """Return ``ggml_threadpool_new``, which is in the backend's module."""
    functions = ggml.ggml_functions()
    registration = ggml.backend_handle("CPU")
    address = functions.ggml_backend_reg_get_proc_address(registration, b"ggml_threadpool_new")
    prototype = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.POINTER(_Params))
    creator: Callable[[Any], int] = prototype(address)
    return creator
