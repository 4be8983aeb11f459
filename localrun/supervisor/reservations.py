"""Reservations of device memory: loads under way, and the memory that they leave for other loads.

A reservation holds its devices from its admission to the end of the load; loads on the same device
never overlap. Counts the memory of loaded models as their runners report it, because the system
counts mapped weights as free.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self

from localrun.supervisor.devices import available_bytes
from localrun.supervisor.planning import (
    DEFAULT_RULES,
    RETRY_TIGHTNESS,
    no_workers,
    plan_load,
    smaller_load,
)

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from types import TracebackType

    from localrun.errors import LocalrunError
    from localrun.hardware.device import Device
    from localrun.hardware.plan import LoadPlan
    from localrun.load_rules import LoadRules
    from localrun.supervisor.memory_history import MemoryHistory
    from localrun.supervisor.model import RunnerModel
    from localrun.supervisor.planning import Devices, PlannedLoad, Workers
    from localrun.supervisor.slots.state import SlotState
    from localrun.supervisor.worker_offers import WorkerOffer


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceMemory:
    """The memory that a pool may use."""

    devices: Devices
    history: MemoryHistory
    free_bytes: Callable[[], int] = available_bytes  # for models without a plan
    invalidate: Callable[[], None] = lambda: None  # drops what was measured of free memory
    workers: Workers = no_workers


@dataclass(slots=True, kw_only=True, eq=False)
class Reservation:
    """A planned load; as a context manager it is released at the end of the load."""

    planned: PlannedLoad
    model: RunnerModel
    num_ctx: int | None
    owner: Reservations
    devices: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        self.devices = _device_names(self.planned.plan)

    def shrink(self, error: LocalrunError) -> bool:
        """Replace the plan by a smaller one after a load failed; return False if none helps.

        The next plans for this model remember it.
        """
        owner = self.owner
        owner.release(self)  # its own share counts as free for the smaller plan
        smaller = smaller_load(
            self.model,
            self.num_ctx,
            owner.devices,
            self.planned,
            error,
            rules=owner.rules,
            workers=owner.workers,
        )
        if smaller is None:
            return False
        owner.history.remember(self.model, owner.devices(), RETRY_TIGHTNESS)
        self.planned = smaller
        owner.add(self)
        return True

    def __enter__(self) -> Self:
        """Return the reservation."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Release the devices."""
        self.owner.release(self)


class Reservations:
    """All loads of one pool that are under way; guarded by the load queue's ``changed``."""

    def __init__(
        self,
        memory: DeviceMemory,
        slots: Callable[[], list[SlotState]],
        changed: threading.Condition,
        rules: LoadRules = DEFAULT_RULES,
    ) -> None:
        self.rules = rules
        self._memory = memory
        self.history = memory.history
        self._slots = slots
        self._changed = changed
        self._active: list[Reservation] = []

    def __len__(self) -> int:
        return len(self._active)

    def plan(self, model: RunnerModel, num_ctx: int | None) -> Reservation:
        """Return a reservation for what is free now, without holding the devices."""
        tightness = self.history.tightness(model, self._memory.devices)
        planned = plan_load(
            model,
            num_ctx,
            self.devices,
            tightness=tightness,
            rules=self.rules,
            workers=self.workers,
        )
        return Reservation(planned=planned, model=model, num_ctx=num_ctx, owner=self)

    def conflicts(self, reservation: Reservation) -> bool:
        """Return whether another load holds one of the devices."""
        with self._changed:
            return any(reservation.devices & active.devices for active in self._active)

    def add(self, reservation: Reservation) -> None:
        """Hold the devices of a load."""
        with self._changed:
            self._active.append(reservation)

    def release(self, reservation: Reservation) -> None:
        """Let the next load have the devices; do nothing if they are released."""
        with self._changed:
            if reservation in self._active:
                self._active.remove(reservation)
            self._memory.invalidate()
            self._changed.notify_all()

    def devices(self) -> list[Device]:
        """Return the devices with their free memory, less what other loads have reserved."""
        reserved = self._reserved_bytes()
        devices = list(self._memory.devices())
        used_host_bytes = sum(_host_bytes(slot) for slot in self._slots())
        unallocated_bytes = sum(_unallocated_bytes(slot) for slot in self._slots())
        return [
            replace(
                device,
                free_bytes=max(
                    0,
                    _free_bytes(device, used_host_bytes, unallocated_bytes)
                    - reserved.get(device.name, 0),
                ),
            )
            for device in devices
        ]

    def workers(self) -> list[WorkerOffer]:
        """Return the offers of the workers, less what other loads have reserved there; blocks."""
        reserved = self._reserved_bytes()
        return [
            replace(
                offer,
                devices=tuple(
                    replace(
                        device,
                        free_bytes=max(0, device.free_bytes - reserved.get(device.name, 0)),
                    )
                    for device in offer.devices
                ),
            )
            for offer in self._memory.workers()
        ]

    def _reserved_bytes(self) -> dict[str, int]:
        """Return the bytes that loads under way have reserved, by device."""
        reserved: dict[str, int] = {}
        for active in list(self._active):
            for share in active.planned.plan.shares if active.planned.plan else ():
                reserved[share.device.name] = reserved.get(share.device.name, 0) + share.total_bytes
        return reserved


def without_models(device: Device, slots: list[SlotState]) -> Device:
    """Return a device with the free memory that it would have without these slots' models."""
    if device.is_gpu:
        used_bytes = sum(
            size for slot in slots for name, size in _memory_of(slot) if name == device.name
        )
    else:
        used_bytes = sum(_host_bytes(slot) for slot in slots)
    return replace(device, free_bytes=min(device.total_bytes, device.free_bytes + used_bytes))


def _host_bytes(slot: SlotState) -> int:
    """Return the bytes of the machine's own memory that a loaded model takes."""
    loaded, runner = slot.loaded, slot.runner
    if loaded is None or runner is None:
        return 0
    ready = loaded.ready
    return ready.size_bytes - ready.size_gpu_bytes + runner.adapter_bytes


def _memory_of(slot: SlotState) -> tuple[tuple[str, int], ...]:
    return slot.loaded.ready.memory if slot.loaded else ()


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


def _device_names(plan: LoadPlan | None) -> frozenset[str]:
    """Return the devices on which loads wait for each other."""
    if plan is None:
        return frozenset({"CPU"})
    return frozenset(gpu.name for gpu in plan.split.gpus) or frozenset({"CPU"})
