"""Devices of workers for plans: the memory that a hello states, under the worker's name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.hardware.device import Device, DeviceKind

if TYPE_CHECKING:
    from localrun.workers.hello import WorkerHello

BACKEND = "RPC"  # llama.cpp's name of the backend


def device_names(worker: str, count: int) -> list[str]:
    """Return the names of a worker's devices: its own, and numbers for further ones."""
    return [worker, *(f"{worker} #{number}" for number in range(2, count + 1))]


def worker_devices(worker: str, hello: WorkerHello) -> list[Device]:
    """Return the devices of a worker, in its own order."""
    names = device_names(worker, len(hello.devices))
    return [
        Device(
            backend=BACKEND,
            index=index,
            name=name,
            description=far.description,
            kind=DeviceKind.GPU,
            total_bytes=far.total_bytes,
            free_bytes=far.free_bytes,
            worker=worker,
            is_processor=not far.is_gpu,
        )
        for index, (name, far) in enumerate(zip(names, hello.devices, strict=True))
    ]
