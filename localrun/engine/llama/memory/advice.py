"""Advice to Linux about memory of this process (`madvise`)."""

from __future__ import annotations

import ctypes
from enum import IntEnum
from functools import cache
from typing import Any


class Advice(IntEnum):
    """Numbers of Linux for ``MADV_...``."""

    DONT_NEED = 4  # return the pages; they read as zeros
    HUGE_PAGE = 14
    NO_HUGE_PAGE = 15


def advise(start: int, size: int, advice: Advice) -> bool:
    """Return whether the kernel accepts advice about whole pages; only Linux has it."""
    return bool(_madvise()(start, size, advice) == 0)


@cache
def _madvise() -> Any:  # noqa: ANN401 - a ctypes function
    function = ctypes.CDLL(None).madvise
    function.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return function
