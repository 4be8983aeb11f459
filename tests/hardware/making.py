"""Devices and cards as tests need them: what drivers said on machines that we have not got."""

from __future__ import annotations

from typing import Any

from localrun.hardware.device import Device, DeviceKind
from localrun.hardware.report import Card


def gpu(backend: str, index: int = 0, **others: Any) -> Device:
    named = {"name": f"{backend}{index}", "description": f"{backend} card", "kind": DeviceKind.GPU}
    sizes = {"total_bytes": 8 << 30, "free_bytes": 7 << 30}
    return Device(**{"backend": backend, "index": index, **named, **sizes, **others})


def cpu() -> Device:
    return gpu("CPU", name="CPU", description="a processor", kind=DeviceKind.CPU)


def igpu(backend: str, index: int = 0, **others: Any) -> Device:
    return gpu(backend, index, kind=DeviceKind.IGPU, **others)


def card(**others: Any) -> Card:
    known = {"maker": "NVIDIA", "name": "NVIDIA H100", "source": "nvml", "unit_id": "0000:c1:00.0"}
    return Card(**{**known, **others})
