"""Memory of loaded models on devices, as their runners report it.

The system counts mapped weights as free because it can read them again, and cells of the KV cache
that have no memory yet.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.hardware.device import Device
    from localrun.supervisor.slots.state import SlotState


def beside_models(devices: Sequence[Device], slots: list[SlotState]) -> list[Device]:
    """Return devices with the memory that is free beside the models of all slots."""
    used_host_bytes = sum(map(_host_bytes, slots))
    unallocated_bytes = sum(map(_unallocated_bytes, slots))
    return [
        replace(device, free_bytes=max(0, _free_bytes(device, used_host_bytes, unallocated_bytes)))
        for device in devices
    ]


def without_models(device: Device, slots: list[SlotState]) -> Device:
    """Return a device with the free memory that it would have without these slots' models."""
    if device.is_gpu:
        used_bytes = sum(
            size for slot in slots for name, size in _memory_of(slot) if name == device.name
        )
    else:
        used_bytes = sum(_host_bytes(slot) for slot in slots)
    return replace(device, free_bytes=min(device.total_bytes, device.free_bytes + used_bytes))


def _memory_of(slot: SlotState) -> tuple[tuple[str, int], ...]:
    return slot.loaded.ready.memory if slot.loaded else ()


def _host_bytes(slot: SlotState) -> int:
    """Return the bytes of the machine's own memory that a loaded model takes."""
    loaded, runner = slot.loaded, slot.runner
    if loaded is None or runner is None:
        return 0
    ready = loaded.ready
    return ready.size_bytes - ready.size_gpu_bytes + runner.adapter_bytes


def _unallocated_bytes(slot: SlotState) -> int:
    """Return the bytes of the KV cache cells in host memory that a loaded model may still take."""
    loaded, runner = slot.loaded, slot.runner
    plan = loaded.planned.plan if loaded is not None else None
    if plan is None or runner is None or not runner.stats.num_cells:
        return 0
    stats = runner.stats
    cache_bytes = sum(share.cell_bytes for share in plan.shares if not share.device.is_gpu)
    return cache_bytes * (stats.num_cells - stats.num_allocated_cells) // stats.num_cells


def _free_bytes(device: Device, used_host_bytes: int, unallocated_bytes: int) -> int:
    """Return the free bytes of a device.

    The system counts mapped weights as free because it can read them again, so the memory of the
    loaded models is subtracted from the total. It also counts cells that have no memory yet.
    """
    if device.is_gpu:
        return device.free_bytes
    return min(device.free_bytes - unallocated_bytes, device.total_bytes - used_host_bytes)
