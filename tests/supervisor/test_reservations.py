from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from localrun.hardware.device import Device, DeviceKind
from localrun.runner.messages import Ready, Stats
from localrun.supervisor.memory_history import MemoryHistory
from localrun.supervisor.model_memory import without_models
from localrun.supervisor.reservations import DeviceMemory, Reservations

if TYPE_CHECKING:
    from localrun.supervisor.slots.state import SlotState

TOTAL, FREE, CACHE, SIZE = 1000, 700, 80, 200


def device(kind: DeviceKind) -> Device:
    return Device(
        backend=kind.name, index=0, name=kind.name, description="", kind=kind,
        total_bytes=TOTAL, free_bytes=FREE,
    )  # fmt: skip


PROCESSOR, GPU = device(DeviceKind.CPU), device(DeviceKind.GPU)


def slot(stats: Stats, memory: tuple[tuple[str, int], ...] = (("CPU", SIZE),)) -> SlotState:
    """Return a loaded model with a part of the cache on each device."""
    shares = [SimpleNamespace(device=one, cell_bytes=CACHE) for one in (PROCESSOR, GPU)]
    size = sum(taken for _, taken in memory)
    ready = Ready(
        num_ctx=1, num_parallel=1, device="CPU", size_bytes=size, load_s=0.0, memory=memory,
        size_gpu_bytes=size - dict(memory)["CPU"],
    )  # fmt: skip
    loaded = SimpleNamespace(
        ready=ready, planned=SimpleNamespace(plan=SimpleNamespace(shares=shares))
    )
    runner = SimpleNamespace(stats=stats, adapter_bytes=0)
    return cast("SlotState", SimpleNamespace(loaded=loaded, runner=runner))


def free_bytes(*slots: SlotState) -> list[int]:
    memory = DeviceMemory(devices=lambda: [PROCESSOR, GPU], history=MemoryHistory())
    reservations = Reservations(memory, lambda: list(slots), threading.Condition())
    return [one.free_bytes for one in reservations.devices()]


@pytest.mark.parametrize(("allocated", "still_to_take"), [(8, 0), (4, 40), (2, 60)])
def test_cells_without_memory_are_not_free_for_other_models(
    allocated: int, still_to_take: int
) -> None:
    stats = Stats(num_cells=8, num_allocated_cells=allocated)

    assert free_bytes(slot(stats)) == [FREE - still_to_take, FREE]
    assert free_bytes(slot(stats), slot(stats))[0] == min(FREE - 2 * still_to_take, TOTAL - 400)


def test_a_runner_without_statistics_has_taken_its_memory() -> None:
    assert free_bytes(slot(Stats())) == [FREE, FREE]


def test_memory_on_workers_is_not_taken_from_this_machine() -> None:
    loaded = slot(Stats(), (("GPU", 100), ("ssh gpu1", 350), ("CPU", SIZE)))

    assert free_bytes(loaded) == [FREE, FREE]
    assert without_models(PROCESSOR, [loaded]).free_bytes == FREE + SIZE


def test_an_unloaded_model_leaves_what_it_had_reserved() -> None:
    loaded = slot(Stats(num_cells=8, num_allocated_cells=4))
    (processor, _) = free_bytes(loaded)
    now = Device(
        backend="CPU", index=0, name="CPU", description="", kind=DeviceKind.CPU,
        total_bytes=TOTAL, free_bytes=processor,
    )  # fmt: skip

    assert without_models(now, [loaded]).free_bytes == FREE - 40 + SIZE
