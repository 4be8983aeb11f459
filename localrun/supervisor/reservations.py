"""Reservations of device memory: loads under way, and the memory that they leave for other loads.

A reservation holds its devices from its admission to the end of the load; loads on the same device
never overlap.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self

from localrun.supervisor.devices import available_bytes
from localrun.supervisor.draft_choice import recipe_draft
from localrun.supervisor.model_memory import beside_models, without_models
from localrun.supervisor.planning import (
    DEFAULT_RULES,
    RETRY_TIGHTNESS,
    plan_load,
    refuse_without_workers,
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
    from localrun.supervisor.draft_choice import Drafts
    from localrun.supervisor.memory_history import MemoryHistory
    from localrun.supervisor.model import RunnerModel
    from localrun.supervisor.planning import Devices, PlannedLoad
    from localrun.supervisor.slots.state import SlotState
    from localrun.supervisor.worker_offers import WorkerOffer, WorkerOffers


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceMemory:
    """The memory that a pool may use."""

    devices: Devices
    history: MemoryHistory
    free_bytes: Callable[[], int] = available_bytes  # for models without a plan
    invalidate: Callable[[], None] = lambda: None  # drops what was measured of free memory
    drafts: Drafts = recipe_draft  # chooses the draft model of a load


@dataclass(slots=True, kw_only=True, eq=False)
class Reservation:
    """A planned load; as a context manager it is released at the end of the load."""

    planned: PlannedLoad
    model: RunnerModel
    num_ctx: int | None
    owner: Reservations
    offers: WorkerOffers
    tightness: float  # share of the free memory that was planned
    devices: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        self.devices = _device_names(self.planned.plan)

    def shrink(self, error: LocalrunError) -> bool:
        """Replace the plan by a smaller one after a load failed; return False if none helps.

        The next plans for this model remember it, unless a worker's memory was short: the history
        is about this machine.

        Raises:
            NetworkError: none helps while a worker cannot be used.
        """
        owner, was_here = self.owner, not _names_worker(error, self.planned)
        owner.release(self)  # its own share counts as free for the smaller plan
        smaller = smaller_load(
            self.model,
            self.num_ctx,
            owner.devices,
            self.planned,
            error,
            rules=owner.rules,
            workers=functools.partial(owner.workers, self.offers),
            drafts=owner.drafts,
        )
        if smaller is None:
            return False
        refuse_without_workers(self.model.name, smaller)
        if was_here:
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
        self.drafts = memory.drafts
        self._slots = slots
        self._changed = changed
        self._active: list[Reservation] = []

    def __len__(self) -> int:
        return len(self._active)

    def plan(
        self,
        model: RunnerModel,
        num_ctx: int | None,
        offers: WorkerOffers,
        evictable: list[SlotState],
    ) -> Reservation:
        """Return a reservation for what is free now, without holding the devices.

        Workers are asked if the model would not fit without the models of ``evictable`` slots.
        """
        tightness = self.history.tightness(model, self._memory.devices)
        plan = functools.partial(plan_load, model, num_ctx, tightness=tightness, rules=self.rules)

        def workers() -> list[WorkerOffer]:
            if evictable:
                best_here = plan(lambda: self._devices_without(evictable)).plan
                if best_here is None or best_here.fits:
                    return []
            return self.workers(offers)

        return Reservation(
            planned=plan(self.devices, workers=workers, drafts=self.drafts),
            model=model,
            num_ctx=num_ctx,
            owner=self,
            offers=offers,
            tightness=tightness,
        )

    def plan_without(self, reservation: Reservation, slots: list[SlotState]) -> LoadPlan | None:
        """Return the plan of a reservation as it would be without the models of these slots.

        Their memory on workers counts only if the model does not fit otherwise: else two models
        that fit beside each other would evict each other to use fewer workers.
        """
        plan = reservation.planned.plan
        freed_on_workers = [] if plan is not None and plan.fits else slots

        def workers() -> list[WorkerOffer]:
            return [
                _with_devices(offer, lambda device: without_models(device, freed_on_workers))
                for offer in self.workers(reservation.offers)
            ]

        return plan_load(
            reservation.model,
            reservation.num_ctx,
            lambda: self._devices_without(slots),
            tightness=reservation.tightness,
            rules=self.rules,
            workers=workers,
        ).plan

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
        devices = beside_models(self._memory.devices(), self._slots())
        return [_without(device, reserved) for device in devices]

    def workers(self, offers: WorkerOffers) -> list[WorkerOffer]:
        """Return the offers of the workers, less what other loads have reserved there; blocks."""
        reserved = self._reserved_bytes()
        return [
            _with_devices(offer, lambda device: _without(device, reserved))
            for offer in offers.ask()
        ]

    def _devices_without(self, slots: list[SlotState]) -> list[Device]:
        return [without_models(device, slots) for device in self.devices()]

    def _reserved_bytes(self) -> dict[str, int]:
        """Return the bytes that loads under way have reserved, by device."""
        reserved: dict[str, int] = {}
        for active in list(self._active):
            for share in active.planned.plan.shares if active.planned.plan else ():
                reserved[share.device.name] = reserved.get(share.device.name, 0) + share.total_bytes
        return reserved


def _without(device: Device, reserved: dict[str, int]) -> Device:
    return replace(device, free_bytes=max(0, device.free_bytes - reserved.get(device.name, 0)))


def _with_devices(offer: WorkerOffer, change: Callable[[Device], Device]) -> WorkerOffer:
    return replace(offer, devices=tuple(map(change, offer.devices)))


def _names_worker(error: LocalrunError, planned: PlannedLoad) -> bool:
    """Return whether the error of a load names a device of a worker."""
    shares = planned.plan.shares if planned.plan is not None else ()
    return any(
        share.device.worker and f"`{share.device.name}`" in error.message for share in shares
    )


def _device_names(plan: LoadPlan | None) -> frozenset[str]:
    """Return the devices on which loads wait for each other."""
    if plan is None:
        return frozenset({"CPU"})
    return frozenset(gpu.name for gpu in plan.split.gpus) or frozenset({"CPU"})
