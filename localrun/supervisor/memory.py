"""How much memory is free; psutil's home."""

from __future__ import annotations

import psutil


def available_bytes() -> int:
    """Return the memory that a new process can take without swapping."""
    return int(psutil.virtual_memory().available)


def total_bytes() -> int:
    """Return the memory of the machine."""
    return int(psutil.virtual_memory().total)
