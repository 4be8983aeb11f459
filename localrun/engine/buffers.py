"""How much memory each device holds, read from llama.cpp's log: it has no function for it.

load_tensors:      Vulkan0 model buffer size =   604.15 MiB
llama_kv_cache:    Vulkan0 KV buffer size =   112.00 MiB
sched_reserve:     Vulkan0 compute buffer size =   300.75 MiB
load_tensors:  Vulkan_Host model buffer size =   157.65 MiB      the machine's memory
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

SIZE = re.compile(r"(\S+) +(\w+) buffer size *= *([0-9.]{1,20}) MiB")
REPEATED = "compute"  # reserved anew when the context changes: the last one holds


class Buffers:
    """The sizes that were heard of so far."""

    def __init__(self) -> None:
        self._bytes: Counter[tuple[str, str]] = Counter()

    def hear(self, line: str) -> None:
        """Take note of a line of the log."""
        match = SIZE.search(line)
        if match is None or match[3].count(".") > 1:
            return
        device, use, size = match[1], match[2], int(float(match[3]) * 1024 * 1024)
        if use == REPEATED:
            self._bytes[device, use] = size
        else:
            self._bytes[device, use] += size

    def bytes_on(self, names: Iterable[str]) -> int:
        """Return what these devices hold together."""
        wanted = set(names)
        return sum(size for (device, _), size in self._bytes.items() if device in wanted)
