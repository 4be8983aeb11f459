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
from typing import TYPE_CHECKING

from localrun.hardware.plan import COMFORTABLE_CONTEXT
from localrun.supervisor.footprint import freed
from localrun.supervisor.planning import plan_load
from localrun.supervisor.reservations import Reservations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from localrun.hardware.device import Device
    from localrun.supervisor.model import RunnerModel
    from localrun.supervisor.reservations import DeviceMemory, Reservation
    from localrun.supervisor.slot_state import SlotState

MEMORY_FACTOR = 1.2  # what a model needs beside its file, roughly, where there is no plan
LOOK_S = 0.25  # memory can also come free by other programs
SHORTEST_TURN_S = 2.0  # that a busy model has before it makes room for others
TURN_LOADS = 4  # and this many times what loading it took
SHORTEST_LOAD_S = 0.1  # for weighing: below this all loads cost the same


class LoadQueue:
    """The line of loads of one pool."""

    def __init__(
        self, memory: DeviceMemory, slots: Callable[[], list[SlotState]], clock: Callable[[], float]
    ) -> None:
        self._memory = memory
        self._slots = slots
        self._clock = clock
        self._changed = threading.Condition()
        self._line: deque[SlotState] = deque()
        self._claims = Reservations(memory, slots, self._changed)

    def notify(self) -> None:
        """Let the first of the line look again: a request has ended, or memory is free."""
        with self._changed:
            self._changed.notify_all()

    def freed(self) -> None:
        """Let the first of the line look again at memory that was given back."""
        self._memory.forget()
        self.notify()

    def claim(self, slot: SlotState, model: RunnerModel, num_ctx: int | None) -> Reservation | None:
        """Return a plan that may be loaded now; blocks until there is memory for it.

        None as soon as nobody waits in the slot any more. A model for which all there is does
        not suffice gets the smallest plan.
        """
        with self._turn(slot):
            while slot.is_wanted:
                claim = self._claims.plan(model, num_ctx)
                if self._claims.is_taken(claim):  # nobody makes room before it can be used
                    self._wait()
                elif not self._is_short(claim, slot):
                    self._claims.take(claim)
                    return claim
                elif not self._unload_one(slot):
                    self._let_one_leave(slot)
                    self._wait()
        return None

    @contextmanager
    def _turn(self, slot: SlotState) -> Iterator[None]:
        """Wait until the slot is the first of the line."""
        with self._changed:
            self._line.append(slot)
            while self._line[0] is not slot and slot.is_wanted:
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

    def _is_short(self, claim: Reservation, slot: SlotState) -> bool:
        """Return whether the plan would be better without models that could make room."""
        others = [one for one in self._slots() if one is not slot and one.ready is not None]
        movable = [one for one in others if not one.holders.has_pin]
        if not (movable or self._claims):
            return False
        now = claim.planned.plan
        if now is None:
            return self._memory.free_bytes() < claim.model.size_bytes * MEMORY_FACTOR

        def without_others() -> list[Device]:
            return [freed(device, movable) for device in self._claims.devices()]

        best = plan_load(claim.model, claim.num_ctx, without_others).plan
        if best is None or not now.fits:
            return True
        is_slower = now.split.num_gpu_layers < best.split.num_gpu_layers
        return is_slower or now.num_ctx < min(best.num_ctx, COMFORTABLE_CONTEXT)

    def _unload_one(self, slot: SlotState) -> bool:
        """Unload the idle model that is missed least; return whether there was one."""
        idle = [
            one
            for one in self._slots()
            if one is not slot and one.is_idle and not one.holders.has_pin
        ]
        if not idle:
            return False
        victim = max(idle, key=self._weight)
        victim.leave()
        victim.settle()
        return True

    def _weight(self, slot: SlotState) -> float:
        return (self._clock() - slot.last_use) / max(slot.load_s, SHORTEST_LOAD_S)

    def _let_one_leave(self, slot: SlotState) -> None:
        """Let the busy model that was loaded first make room, once it has had its turn."""
        others = [one for one in self._slots() if one is not slot and one.ready is not None]
        if self._claims or any(one.must_leave for one in others):
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
