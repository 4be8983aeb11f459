"""Whether a model fits the memory of this machine, by the size of its files alone.

A rough answer for lists and questions; ``localrun plan`` computes it for a context.
"""

from __future__ import annotations

from localrun.cli.output import human_bytes


def memory_bytes() -> int:
    """Return the memory of this machine."""
    import psutil

    return int(psutil.virtual_memory().total)


def fit_note(size_bytes: int, memory: int) -> str:
    """Return whether files of a size fit, with the memory that they are compared with."""
    from localrun.services.search import MEMORY_SHARE

    if size_bytes <= memory * MEMORY_SHARE:
        return "fits"
    return f"does not fit into {human_bytes(memory)} of memory"
