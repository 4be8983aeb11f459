"""Memory allocator of the C library: returns to the system what a process has freed.

glibc keeps freed memory, in one arena per thread, and can shrink the first arena only. Without this
module, half of the memory of a server or runner that was busy is free memory that it keeps. Other
C libraries are left alone.
"""

from __future__ import annotations

import ctypes
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


M_ARENA_MAX = -8  # of glibc's malloc.h


def use_one_arena() -> None:
    """Let all threads that start from now on allocate from the arena that can shrink."""
    mallopt = _function("mallopt")
    if mallopt is not None:
        mallopt(M_ARENA_MAX, 1)


def release_free_memory() -> None:
    """Return freed memory to the system; takes a millisecond, and any thread may call it."""
    malloc_trim = _function("malloc_trim")
    if malloc_trim is not None:
        malloc_trim(0)


def _function(name: str) -> Callable[..., int] | None:
    """Return a function of glibc, or None if the C library is another one."""
    function = None
    if sys.platform == "linux":
        library = ctypes.CDLL(None)
        function = getattr(library, name) if hasattr(library, "gnu_get_libc_version") else None
    return function
