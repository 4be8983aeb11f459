"""Loads that have begun, and what they leave of the devices for others."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self

from localrun.supervisor.footprint import host_bytes
from localrun.supervisor.memory import available_bytes
from localrun.supervisor.planning import RETRY_TIGHTNESS, plan_load, smaller_load

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from types import TracebackType

    from localrun.errors import LocalrunError
    from localrun.hardware.device import Device
    from localrun.hardware.plan import LoadPlan
    from localrun.supervisor.memory_history import MemoryHistory
    from localrun.supervisor.model import RunnerModel
    from localrun.supervisor.planning import Devices, PlannedLoad
    from localrun.supervisor.slot_state import SlotState


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceMemory:
    """What a pool may take."""

    devices: Devices
    needs: MemoryHistory
    free_bytes: Callable[[], int] = available_bytes  # where there is no plan
    forget: Callable[[], None] = lambda: None  # what was known of free memory


@dataclass(slots=True, kw_only=True, eq=False)
class Reservation:
    """A load that may begin; it holds its devices until it is over."""

    planned: PlannedLoad
    model: RunnerModel
    num_ctx: int | None
    claims: Reservations
    devices: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        self.devices = _devices_of(self.planned.plan)

    def smaller(self, error: LocalrunError) -> PlannedLoad | None:
        """Return what to try after an error, None where that would not help; it is remembered."""
        self.claims.release(self)  # what it was promised is what it may have now
        found = smaller_load(self.model, self.num_ctx, self.claims.devices, self.planned, error)
        if found is None:
            return None
        self.claims.needs.remember(self.model, self.claims.devices(), RETRY_TIGHTNESS)
        self.planned = found
        self.claims.take(self)
        return found

    def __enter__(self) -> Self:
        """Begin the load."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the devices to the next load."""
        self.claims.release(self)


class Reservations:
    """All loads of one pool that have begun; ``changed`` is told when one is over."""

    def __init__(
        self,
        memory: DeviceMemory,
        slots: Callable[[], list[SlotState]],
        changed: threading.Condition,
    ) -> None:
        self._memory = memory
        self.needs = memory.needs
        self._slots = slots
        self._changed = changed
        self._open: list[Reservation] = []

    def __len__(self) -> int:
        return len(self._open)

    def plan(self, model: RunnerModel, num_ctx: int | None) -> Reservation:
        """Return the claim that could be made now."""
        tightness = self.needs.tightness(model, self._memory.devices)
        planned = plan_load(model, num_ctx, self.devices, tightness=tightness)
        return Reservation(planned=planned, model=model, num_ctx=num_ctx, claims=self)

    def is_taken(self, claim: Reservation) -> bool:
        """Return whether another load has one of the devices."""
        with self._changed:
            return any(claim.devices & one.devices for one in self._open)

    def take(self, claim: Reservation) -> None:
        """Hold the devices of a load."""
        with self._changed:
            self._open.append(claim)

    def release(self, claim: Reservation) -> None:
        """Let the next load have the devices."""
        with self._changed:
            if claim in self._open:
                self._open.remove(claim)
            self._memory.forget()
            self._changed.notify_all()

    def devices(self) -> list[Device]:
        """Return the devices with what is free of them, and not promised to a load."""
        promised: dict[str, int] = {}
        for claim in list(self._open):
            for share in claim.planned.plan.shares if claim.planned.plan else ():
                promised[share.device.name] = promised.get(share.device.name, 0) + share.total_bytes
        found = list(self._memory.devices())
        names = {device.name for device in found if device.is_gpu}
        taken = sum(host_bytes(slot, names) for slot in self._slots())
        return [
            replace(
                device,
                free_bytes=max(0, _free(device, taken) - promised.get(device.name, 0)),
            )
            for device in found
        ]


def _free(device: Device, taken_bytes: int) -> int:
    """Return what is free of a device.

    Weights that are mapped count as free in the system's eyes, for it can read them
    again: what our models have is taken off what there is at all.
    """
    if device.is_gpu:
        return device.free_bytes
    return min(device.free_bytes, device.total_bytes - taken_bytes)


def _devices_of(plan: LoadPlan | None) -> frozenset[str]:
    """Return the devices whose loads wait for each other."""
    if plan is None:
        return frozenset({"CPU"})
    return frozenset(gpu.name for gpu in plan.split.gpus) or frozenset({"CPU"})
