"""Memory for the next load: who waits for it, and which model makes room.

Loads wait in one line. The first of it makes its plan, and may load while others do on
other devices. When memory is short, idle models go: those that were unused longest for
what they cost to load again. Where only busy ones are left, the one that had its turn
takes no new requests and goes when those it has have ended; a pinned one stays.
"""

from __future__ import annotations

import threading
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self

from localrun.hardware.plan import COMFORTABLE_CONTEXT
from localrun.supervisor.memory import available_bytes
from localrun.supervisor.planning import RETRY_TIGHTNESS, plan_load, smaller_load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from localrun.errors import LocalrunError
    from localrun.hardware.device import Device
    from localrun.hardware.plan import Plan
    from localrun.supervisor.model import RunnerModel
    from localrun.supervisor.needs import Needs
    from localrun.supervisor.planning import Devices, PlannedLoad
    from localrun.supervisor.slot import Slot

MEMORY_FACTOR = 1.2  # what a model needs beside its file, roughly, where there is no plan
LOOK_S = 0.25  # memory can also come free by other programs
SHORTEST_TURN_S = 2.0  # that a busy model has before it makes room for others
TURN_LOADS = 4  # and this many times what loading it took
SHORTEST_LOAD_S = 0.1  # for weighing: below this all loads cost the same


@dataclass(slots=True, kw_only=True, eq=False)
class Claim:
    """A load that may begin; it holds its devices until it is over."""

    planned: PlannedLoad
    model: RunnerModel
    num_ctx: int | None
    room: Room
    devices: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        self.devices = _devices_of(self.planned.plan)

    def smaller(self, error: LocalrunError) -> PlannedLoad | None:
        """Return what to try after an error, None where that would not help; it is remembered."""
        self.room.release(self)  # what it was promised is what it may have now
        found = smaller_load(self.model, self.num_ctx, self.room.devices, self.planned, error)
        if found is None:
            return None
        self.room.needs.remember(self.model, self.room.devices(), RETRY_TIGHTNESS)
        self.planned = found
        self.room.take(self)
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
        self.room.release(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What a pool may take."""

    devices: Devices
    needs: Needs
    free_bytes: Callable[[], int] = available_bytes  # where there is no plan
    forget: Callable[[], None] = lambda: None  # what was known of free memory


class Room:
    """The line of loads of one pool."""

    def __init__(
        self, memory: Memory, slots: Callable[[], list[Slot]], clock: Callable[[], float]
    ) -> None:
        self._memory = memory
        self.needs = memory.needs
        self._slots = slots
        self._clock = clock
        self._changed = threading.Condition()
        self._line: deque[Slot] = deque()
        self._claims: list[Claim] = []

    def notify(self) -> None:
        """Let the first of the line look again: a request has ended, or memory is free."""
        with self._changed:
            self._changed.notify_all()

    def freed(self) -> None:
        """Let the first of the line look again at memory that was given back."""
        self._memory.forget()
        self.notify()

    def claim(
        self,
        slot: Slot,
        model: RunnerModel,
        num_ctx: int | None,
        is_wanted: Callable[[], bool],
    ) -> Claim | None:
        """Return a plan that may be loaded now; blocks until there is memory for it.

        None as soon as the load is not wanted any more. A model for which all there is does
        not suffice gets the smallest plan.
        """
        with self._turn(slot, is_wanted):
            while is_wanted():
                claim = self._planned(model, num_ctx)
                if self._is_taken(claim):  # nobody makes room before it can be used
                    self._wait()
                elif not self._is_short(claim, slot):
                    self.take(claim)
                    return claim
                elif not self._unload_one(slot):
                    self._let_one_leave(slot)
                    self._wait()
        return None

    def release(self, claim: Claim) -> None:
        """Let the next load have the devices."""
        with self._changed:
            if claim in self._claims:
                self._claims.remove(claim)
            self._memory.forget()
            self._changed.notify_all()

    def take(self, claim: Claim) -> None:
        """Hold the devices of a load."""
        with self._changed:
            self._claims.append(claim)

    def devices(self) -> list[Device]:
        """Return the devices with what is free of them, and not promised to a load."""
        promised: dict[str, int] = {}
        for claim in list(self._claims):
            for share in claim.planned.plan.shares if claim.planned.plan else ():
                promised[share.device.name] = promised.get(share.device.name, 0) + share.total_bytes
        found = list(self._memory.devices())
        names = {device.name for device in found if device.is_gpu}
        taken = sum(_host_bytes(slot, names) for slot in self._slots())
        return [
            replace(
                device,
                free_bytes=max(0, self._free(device, taken) - promised.get(device.name, 0)),
            )
            for device in found
        ]

    @contextmanager
    def _turn(self, slot: Slot, is_wanted: Callable[[], bool]) -> Iterator[None]:
        """Wait until the slot is the first of the line."""
        with self._changed:
            self._line.append(slot)
            while self._line[0] is not slot and is_wanted():
                self._changed.wait(LOOK_S)
        try:
            yield
        finally:
            with self._changed:
                self._line.remove(slot)
                self._changed.notify_all()

    def _wait(self) -> None:
        with self._changed:
            self._changed.wait(LOOK_S)

    def _planned(self, model: RunnerModel, num_ctx: int | None) -> Claim:
        """Return the claim that could be made now."""
        tightness = self.needs.tightness(model, self._memory.devices)
        planned = plan_load(model, num_ctx, self.devices, tightness=tightness)
        return Claim(planned=planned, model=model, num_ctx=num_ctx, room=self)

    def _is_taken(self, claim: Claim) -> bool:
        """Tell whether another load has one of the devices."""
        with self._changed:
            return any(claim.devices & one.devices for one in self._claims)

    def _is_short(self, claim: Claim, slot: Slot) -> bool:
        """Tell whether the plan would be better without models that could make room."""
        others = [one for one in self._slots() if one is not slot and one.ready is not None]
        movable = [one for one in others if not one.holders.has_pin]
        if not (movable or self._claims):
            return False
        now = claim.planned.plan
        if now is None:
            return self._memory.free_bytes() < claim.model.size_bytes * MEMORY_FACTOR

        def without_others() -> list[Device]:
            return [_freed(device, movable) for device in self.devices()]

        best = plan_load(claim.model, claim.num_ctx, without_others).plan
        if best is None or not now.fits:
            return True
        is_slower = now.split.num_gpu_layers < best.split.num_gpu_layers
        return is_slower or now.num_ctx < min(best.num_ctx, COMFORTABLE_CONTEXT)

    def _unload_one(self, slot: Slot) -> bool:
        """Unload the idle model that is missed least; tell whether there was one."""
        idle = [
            one
            for one in self._slots()
            if one is not slot and one.is_idle() and not one.holders.has_pin
        ]
        if not idle:
            return False
        victim = max(idle, key=self._weight)
        victim.leave()
        victim.settle()
        return True

    def _weight(self, slot: Slot) -> float:
        return (self._clock() - slot.last_use) / max(slot.load_s, SHORTEST_LOAD_S)

    def _let_one_leave(self, slot: Slot) -> None:
        """Let the busy model that was loaded first make room, once it has had its turn."""
        others = [one for one in self._slots() if one is not slot and one.ready is not None]
        if self._claims or any(one.is_leaving for one in others):
            return  # memory is about to come
        now = self._clock()
        ripe = [
            one
            for one in others
            if not one.holders.has_pin
            and now - one.ready_at >= max(SHORTEST_TURN_S, TURN_LOADS * one.load_s)
        ]
        if ripe:
            min(ripe, key=lambda one: one.ready_at).leave()

    def _free(self, device: Device, taken_bytes: int) -> int:
        """Return what is free of a device.

        Weights that are mapped count as free in the system's eyes, for it can read them
        again: what our models have is taken off what there is at all.
        """
        if device.is_gpu:
            return device.free_bytes
        return min(device.free_bytes, device.total_bytes - taken_bytes)


def _freed(device: Device, slots: list[Slot]) -> Device:
    """Return a device as it would be without these."""
    if device.is_gpu:
        bytes_there = sum(
            size for slot in slots for name, size in _memory_of(slot) if name == device.name
        )
    else:
        bytes_there = sum(_host_bytes(slot, set()) for slot in slots)
    return replace(device, free_bytes=min(device.total_bytes, device.free_bytes + bytes_there))


def _memory_of(slot: Slot) -> tuple[tuple[str, int], ...]:
    ready = slot.ready
    return ready.memory or (("CPU", ready.size_bytes),) if ready else ()


def _host_bytes(slot: Slot, gpus: set[str]) -> int:
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


def _devices_of(plan: Plan | None) -> frozenset[str]:
    """Return the devices whose loads wait for each other."""
    if plan is None:
        return frozenset({"CPU"})
    return frozenset(gpu.name for gpu in plan.split.gpus) or frozenset({"CPU"})
