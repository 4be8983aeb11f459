"""The memory that llama.cpp took, heard from its log.

Every buffer is announced in a line; nothing else tells them all in a stable way.

    load_tensors:   CPU_Mapped model buffer size =   604.15 MiB
    llama_kv_cache:      CUDA0 KV buffer size =  1792.00 MiB
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

LINE = re.compile(
    r"\w+: +(?P<owner>\S+) +(?P<kind>model|KV|RS|compute|output|LoRA) buffer size = +"
    r"(?P<mib>[\d.]+) MiB",
    re.ASCII,
)
AGAIN = {"compute", "output"}  # these are made anew when they turn out too small
MIB = 1024 * 1024
HOST, MAPPED, REARRANGED = "CPU", "CPU_Mapped", "CPU_REPACK"


@dataclass(slots=True)
class MemoryTaken:
    """What has been heard so far."""

    _sizes: dict[tuple[str, str], int] = field(default_factory=dict)

    def hear(self, line: str) -> None:
        """Take a line of the log; most of them say nothing of memory."""
        match = LINE.match(line)
        if match is None:
            return
        key = (match["owner"], match["kind"])
        size = round(float(match["mib"]) * MIB)
        self._sizes[key] = size if match["kind"] in AGAIN else self._sizes.get(key, 0) + size

    def by_device(self) -> dict[str, int]:
        """Return the bytes on each device; what a driver pins for itself is the processor's."""
        found: dict[str, int] = {}
        # what was rearranged for the processor's vectors lies in a buffer of its own, and is
        # not looked at in the mapped file any more, which the system then drops
        rearranged = self._sizes.get((REARRANGED, "model"), 0)
        for (owner, kind), whole in self._sizes.items():
            is_file = (owner, kind) == (MAPPED, "model")
            size = max(0, whole - rearranged) if is_file else whole
            is_host = owner.startswith(HOST) or owner.endswith("_Host")
            name = HOST if is_host else owner
            found[name] = found.get(name, 0) + size
        return found
