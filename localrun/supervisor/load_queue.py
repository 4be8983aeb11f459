"""Load queue of a pool: admission of loads, and eviction of models to make room for them.

The first load of the queue makes its plan and is admitted while others load on other devices. If
memory is short, idle models are evicted: those unused longest relative to their load time. If only
busy models are left, one that has been loaded for long enough drains: it takes no new requests and
is unloaded when its present ones have ended. A pinned model is never evicted. The same applies if
`LOCALRUN_MAX_MODELS` models are loaded, except that the one unused longest is evicted.
"""

from __future__ import annotations

import threading
from collections import deque
from contextlib import contextmanager
from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

from localrun.errors import OverloadedError
from localrun.hardware.plan import COMFORTABLE_CONTEXT
from localrun.load_rules import MAX_MODELS
from localrun.supervisor.planning import DEFAULT_RULES, refuse_without_workers
from localrun.supervisor.reservations import Reservations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from localrun.hardware.plan import LoadPlan
    from localrun.load_rules import LoadRules
    from localrun.supervisor.model import RunnerModel
    from localrun.supervisor.reservations import DeviceMemory, Reservation
    from localrun.supervisor.slots.contents import SlotLoad
    from localrun.supervisor.slots.state import SlotState
    from localrun.supervisor.worker_offers import WorkerOffers

MEMORY_FACTOR = 1.2  # a model's memory relative to its file, roughly, if there is no plan
POLL_S = 0.25  # other programs can free memory, too
MIN_RESIDENCE_S = 2.0  # of a busy model before it drains for others
RESIDENCE_LOADS = 4  # and this many times the seconds that its load took
MIN_LOAD_S = 0.1  # for eviction: faster loads cost the same


class Admission(Enum):
    """When a load is admitted."""

    NOW = auto()
    AFTER_EVICTION = auto()
    LATER = auto()  # another load is under way, or memory is about to be free


class OtherModels(NamedTuple):
    """The models beside the one that is to be loaded."""

    evictable: list[SlotState]  # may make room, now or when they are idle
    changing: list[SlotState]  # load or end, so that their memory is about to change


class LoadQueue:
    """The queue of loads of one pool; all methods are safe from any thread."""

    def __init__(
        self,
        memory: DeviceMemory,
        slots: Callable[[], list[SlotState]],
        clock: Callable[[], float],
        rules: LoadRules = DEFAULT_RULES,
    ) -> None:
        self._memory = memory
        self._slots = slots
        self._clock = clock
        self._rules = rules
        # Guards the queue and the reservations. Taken before the locks of slots and devices,
        # never while the pool's lock is held.
        self._changed = threading.Condition()
        self._queue: deque[SlotState] = deque()
        self._reservations = Reservations(memory, slots, self._changed, rules)

    def notify(self) -> None:
        """Let the first load check again: a request has ended, or the pool closes."""
        with self._changed:
            self._changed.notify_all()

    def notify_freed(self) -> None:
        """Let the first load check again, with the free memory measured anew."""
        self._memory.invalidate()
        self.notify()

    def reserve(
        self, slot: SlotState, model: RunnerModel, num_ctx: int | None, offers: WorkerOffers
    ) -> Reservation | None:
        """Return a reservation that may be loaded now; blocks until there is memory for it.

        Return None as soon as no request waits in the slot. A model that is larger than the
        whole memory gets the smallest plan.

        Raises:
            OverloadedError: as many models as allowed are loaded, and all of them are pinned.
            NetworkError: no eviction helps while a worker cannot be used.
        """
        with self._first_in_queue(slot) as is_first:
            while is_first and slot.is_wanted:
                is_full, others = self._is_full(slot), self._others(slot)
                reservation = self._reservations.plan(model, num_ctx, offers, others.evictable)
                admission = self._admission(reservation, slot, others)
                if admission is Admission.LATER:
                    self._wait()
                elif is_full or admission is Admission.AFTER_EVICTION:
                    self._make_room(slot, self._idle_time if is_full else self._eviction_rank)
                else:
                    self._reservations.add(reservation)
                    return reservation
        return None

    @contextmanager
    def _first_in_queue(self, slot: SlotState) -> Iterator[bool]:
        """Wait until the slot is the first of the queue; yield False if no request waits in it.

        A request that comes after that begins a new wait: two loads must not be admitted at once.
        """
        with self._changed:
            self._queue.append(slot)
            while not (is_first := self._queue[0] is slot) and slot.is_wanted:
                self._changed.wait(POLL_S)
        try:
            yield is_first
        finally:
            with self._changed:
                self._queue.remove(slot)
                self._changed.notify_all()

    def _wait(self) -> None:
        with self._changed:
            self._changed.wait(POLL_S)

    def _is_full(self, slot: SlotState) -> bool:
        """Return whether as many other models as allowed are loaded or load.

        Raises:
            OverloadedError: all of them are pinned.
        """
        most = self._rules.max_models
        if most is None:
            return False
        with self._changed:
            waiting = set(self._queue)
        others = [other for other in self._slots() if other is not slot and other not in waiting]
        occupied = [other for other in others if other.is_starting or other.loaded is not None]
        if len(occupied) < most:
            return False
        if all(other.has_pin for other in occupied):
            names = ", ".join(sorted(other.loading_name for other in occupied))
            raise OverloadedError(
                f"{MAX_MODELS} allows {most}, and what is loaded is pinned: {names}",
                hint=f"localrun stop {occupied[0].loading_name}   unloads it",
            )
        return True

    def _make_room(self, slot: SlotState, rank: Callable[[SlotState, SlotLoad], float]) -> None:
        """Unload the idle model with the highest rank, or let a busy one drain and wait."""
        if not self._evict_idle(slot, rank):
            self._drain_busy(slot)
            self._wait()

    def _others(self, slot: SlotState) -> OtherModels:
        """Return the models of other slots as they are now."""
        others = [other for other in self._slots() if other is not slot]
        with self._changed:
            loading = [other for other in others if other.is_starting and other not in self._queue]
        return OtherModels(
            evictable=[other for other in others if other.loaded is not None and not other.has_pin],
            changing=loading + [other for other in others if other.is_changing],
        )

    def _admission(
        self, reservation: Reservation, slot: SlotState, others: OtherModels
    ) -> Admission:
        """Return when a load is admitted, for what memory is concerned.

        ``others`` are the models before the plan, whose workers may have taken seconds to answer.

        Raises:
            NetworkError: no eviction helps while a worker cannot be used.
        """
        if self._reservations.conflicts(reservation):  # evicting now would gain nothing
            return Admission.LATER
        # behind the reservations: a load that has just ended is a model that is not in ``others``
        if not slot.is_wanted or others != self._others(slot):
            return Admission.LATER
        evictable = others.evictable
        plan = reservation.planned.plan
        if plan is None:
            free_bytes, size_bytes = self._memory.free_bytes(), reservation.model.size_bytes
            may_free = bool(evictable or self._reservations)
            return _after_eviction(may_free and free_bytes < size_bytes * MEMORY_FACTOR)
        best = self._reservations.plan_without(reservation, evictable) if evictable else plan
        if best is not None and not best.fits:
            if others.changing:
                return Admission.LATER  # more memory is about to be free, or to be evictable
            refuse_without_workers(reservation.model.name, reservation.planned)
            return _after_eviction(bool(evictable))
        return _after_eviction(best is None or _is_better(best, plan))

    def _evict_idle(self, slot: SlotState, rank: Callable[[SlotState, SlotLoad], float]) -> bool:
        """Unload the idle model with the highest rank; return whether there was one."""
        candidates = [
            (rank(other, loaded), other)
            for other in self._slots()
            if other is not slot and other.is_idle and not other.has_pin
            if (loaded := other.loaded) is not None
        ]
        if not candidates:
            return False
        _, victim = max(candidates, key=lambda candidate: candidate[0])
        victim.drain()
        victim.settle()
        return True

    def _idle_time(self, slot: SlotState, _loaded: SlotLoad) -> float:
        return self._clock() - slot.last_use

    def _eviction_rank(self, slot: SlotState, loaded: SlotLoad) -> float:
        """Return how cheap a model is to lose: its idle time relative to its load time."""
        return (self._clock() - slot.last_use) / max(loaded.load_s, MIN_LOAD_S)

    def _drain_busy(self, slot: SlotState) -> None:
        """Drain the busy model that was loaded first, unless all were loaded too recently."""
        others = [other for other in self._slots() if other is not slot]
        if self._reservations or any(other.is_draining for other in others):
            return  # memory is about to be free
        now = self._clock()
        candidates = [
            (loaded.ready_at, other)
            for other in others
            if (loaded := other.loaded) is not None and not other.has_pin
            if now - loaded.ready_at >= max(MIN_RESIDENCE_S, RESIDENCE_LOADS * loaded.load_s)
        ]
        if candidates:
            _, victim = min(candidates, key=lambda candidate: candidate[0])
            victim.drain()


def _after_eviction(needs_eviction: bool) -> Admission:  # noqa: FBT001 - its only meaning
    return Admission.AFTER_EVICTION if needs_eviction else Admission.NOW


def _is_better(best: LoadPlan, plan: LoadPlan) -> bool:
    """Return whether a plan that fits is worth an eviction."""
    if not plan.fits or plan.worker_bytes > best.worker_bytes:
        return True
    if plan.worker_bytes:
        return False
    is_slower = plan.split.num_gpu_layers < best.split.num_gpu_layers
    return is_slower or plan.num_ctx < min(best.num_ctx, COMFORTABLE_CONTEXT)
