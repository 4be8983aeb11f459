"""Memory use of llama.cpp, parsed from its log.

llama.cpp logs the size of every buffer; no other stable interface reports them all.

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
REALLOCATED = {"compute", "output"}  # allocated again if too small: the last line counts
ENCODER = "reserve_compute_meta:"
MIB = 1024 * 1024
HOST, MAPPED = "CPU", "CPU_Mapped"
REPACKED = {"CPU_REPACK", "AMX"}  # for the vector and the matrix units of the processor


@dataclass(slots=True)
class MemoryTaken:
    """Sizes of the buffers that were logged so far."""

    _sizes: dict[tuple[str, str], int] = field(default_factory=dict)
    _names: dict[str, str] = field(default_factory=dict)  # of owners

    def add_weights(self, device: str, num_bytes: int) -> None:
        """Count weights that llama.cpp does not log, such as those of a projector."""
        self._sizes[device, "projector"] = num_bytes

    def name_owner(self, owner: str, name: str) -> None:
        """Report the buffers of an owner under a device's name."""
        self._names[owner] = name

    def read_line(self, line: str) -> None:
        """Parse one line of the log; lines without a buffer size are ignored."""
        match = LINE.match(line)
        if match is None:
            return
        # the encoder of images has a buffer of its own
        is_encoder = line.startswith(ENCODER)
        key = (match["owner"], "encoder" if is_encoder else match["kind"])
        size = round(float(match["mib"]) * MIB)
        self._sizes[key] = size if match["kind"] in REALLOCATED else self._sizes.get(key, 0) + size

    def by_device(self) -> dict[str, int]:
        """Return the bytes by device; host memory pinned by a GPU driver counts as CPU memory."""
        sizes: dict[str, int] = {}
        # repacked weights have a buffer of their own; their pages of the mapped file are no longer
        # read, and the system evicts them
        repacked = sum(self._sizes.get((owner, "model"), 0) for owner in REPACKED)
        for (owner, kind), whole in self._sizes.items():
            is_mapped_file = (owner, kind) == (MAPPED, "model")
            size = max(0, whole - repacked) if is_mapped_file else whole
            is_host = owner.startswith(HOST) or owner.endswith("_Host") or owner in REPACKED
            device = HOST if is_host else self._names.get(owner, owner)
            sizes[device] = sizes.get(device, 0) + size
        return sizes
