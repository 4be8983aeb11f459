"""Huge pages (2 MiB) for weights that llama.cpp copies: fewer misses of the TLB in every step.

A step reads all weights once. llama.cpp repacks most of them into memory of its own, which Linux
gives pages of 4 KiB unless the process asks for huge ones. It asks here, when the buffers exist
and nothing is written yet, so that the pages are huge from the first write on. KV cache cells keep
small pages, as they take memory by need; the pages of a mapped file cannot be huge.

On other systems nothing is done.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from localrun.engine.llama.memory.advice import Advice, advise

if TYPE_CHECKING:
    from collections.abc import Iterator

    Range = tuple[int, int]  # addresses: the first, and the one after the last

SETTING = Path("/sys/kernel/mm/transparent_hugepage/enabled")
NEVER = "[never]"
MAPS = Path("/proc/self/maps")
MIN_BYTES = 32 << 20  # smaller models gain nothing; stacks of threads and tables are smaller too
ANONYMOUS = ("rw-p", "0")  # permissions and inode of memory that is private and of no file


def has_huge_pages() -> bool:
    """Return False if this kernel could give huge pages and is set to give none."""
    try:
        return NEVER not in SETTING.read_text(encoding="ascii")
    except OSError:  # no Linux, or one without huge pages
        return True


class HugePages:
    """Request for huge pages for the large buffers that are allocated from now on."""

    def __init__(self) -> None:
        self._known: list[Range] | None = _anonymous_memory()  # None once requested

    def request(self) -> int:
        """Return the bytes of new buffers that may have huge pages; further calls do nothing."""
        known, self._known = self._known, None
        if not known:  # requested before, or unknown
            return 0
        new = (part for mapping in _anonymous_memory() for part in _without(mapping, known))
        return sum(_advise(part) for part in new if part[1] - part[0] >= MIN_BYTES)


def _anonymous_memory() -> list[Range]:
    """Return the private memory of this process that is of no file, in order of addresses."""
    ranges: list[Range] = []
    if sys.platform == "linux":
        with contextlib.suppress(OSError), MAPS.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                addresses, permissions, _offset, _device, inode = line.split(maxsplit=5)[:5]
                if (permissions, inode) == ANONYMOUS:
                    start, end = addresses.split("-")
                    ranges.append((int(start, 16), int(end, 16)))
    return ranges


def _without(mapping: Range, known: list[Range]) -> Iterator[Range]:
    """Yield the parts of a mapping outside the known ranges: the kernel joins adjacent ones."""
    start, end = mapping
    for first, last in known:
        if first < end and last > start:
            yield start, first
            start = last
    yield start, end


def _advise(part: Range) -> int:
    """Return the bytes for which the kernel accepts the request; it refuses without huge pages."""
    size = part[1] - part[0]
    return size if advise(part[0], size, Advice.HUGE_PAGE) else 0
