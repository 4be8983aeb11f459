"""A device that can hold a model, as the probe saw it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class DeviceKind(StrEnum):
    """What kind of thing computes."""

    CPU = "cpu"
    GPU = "gpu"
    IGPU = "igpu"  # shares the processor's memory
    ACCEL = "accel"  # BLAS and the like, beside the processor


@dataclass(frozen=True, slots=True)
class Device:
    """One device of one backend."""

    backend: str  # "CUDA", "Vulkan", "CPU"
    index: int  # among those of the backend
    name: str  # llama.cpp's: "CUDA0"
    description: str
    kind: DeviceKind
    total_bytes: int
    free_bytes: int
    unit_id: str | None  # the same for one card that two backends see
    driver: str | None
