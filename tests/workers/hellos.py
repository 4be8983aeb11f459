"""Hellos of workers that do not exist."""

from __future__ import annotations

from localrun.workers.hello import PROTOCOL, FarDevice, WorkerHello

GIB = 1 << 30


def far_device(free_bytes: int = 8 * GIB, *, is_gpu: bool = False) -> FarDevice:
    return FarDevice(
        name="CPU",
        description="Far CPU",
        is_gpu=is_gpu,
        total_bytes=16 * GIB,
        free_bytes=free_bytes,
    )


def hello(
    *devices: FarDevice, protocol: tuple[int, int] = PROTOCOL, version: str = "9.9"
) -> WorkerHello:
    return WorkerHello(
        version=version,
        protocol=protocol,
        threads=4,
        has_network=False,
        network_note="",
        devices=devices or (far_device(),),
    )
