"""Preallocation of memory: the host of a virtual machine allocates pages on first access."""

from __future__ import annotations

import mmap

import psutil

MAX_SHARE = 0.5  # of the free memory


def warm(size_bytes: int) -> None:
    """Touch memory and free it, so that the next writer of as much does not wait for the host."""
    most = int(MAX_SHARE * psutil.virtual_memory().available)
    with mmap.mmap(-1, min(size_bytes, most)) as memory:
        for position in range(0, len(memory), mmap.PAGESIZE):
            memory[position] = 1
