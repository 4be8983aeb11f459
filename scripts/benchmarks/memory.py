"""Memory that is really there: a virtual machine's host hands out pages when they are touched."""

from __future__ import annotations

import mmap

import psutil

MOST_SHARE = 0.5  # of what is free


def warm(size_bytes: int) -> None:
    """Touch memory and free it, so that who writes so much next need not wait for the host."""
    most = int(MOST_SHARE * psutil.virtual_memory().available)
    with mmap.mmap(-1, min(size_bytes, most)) as memory:
        for position in range(0, len(memory), mmap.PAGESIZE):
            memory[position] = 1
