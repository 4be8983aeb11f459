"""What loaded models take of the devices, as their runners told it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from localrun.hardware.device import Device
    from localrun.supervisor.slot_state import SlotState


def freed(device: Device, slots: list[SlotState]) -> Device:
    """Return a device as it would be without these."""
    if device.is_gpu:
        bytes_there = sum(
            size for slot in slots for name, size in _memory_of(slot) if name == device.name
        )
    else:
        bytes_there = sum(host_bytes(slot, set()) for slot in slots)
    return replace(device, free_bytes=min(device.total_bytes, device.free_bytes + bytes_there))


def host_bytes(slot: SlotState, gpus: set[str]) -> int:
    """Return what a loaded model takes of the machine's own memory."""
    ready, runner = slot.ready, slot.runner
    if ready is None or runner is None:
        return 0
    on_gpus = (
        ready.size_gpu_bytes
        if not gpus
        else sum(size for name, size in _memory_of(slot) if name in gpus)
    )
    return sum(size for _, size in _memory_of(slot)) - on_gpus + runner.adapter_bytes


def _memory_of(slot: SlotState) -> tuple[tuple[str, int], ...]:
    ready = slot.ready
    return ready.memory or (("CPU", ready.size_bytes),) if ready else ()
