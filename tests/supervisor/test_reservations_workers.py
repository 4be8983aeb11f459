"""Plans of a pool over workers: what they count on, and what the memory history learns of them."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from localrun.errors import LoadError, NetworkError
from localrun.hardware.plan import HOST_RESERVE
from localrun.runner.messages import Ready, Stats
from localrun.store.store import embedded_models
from localrun.supervisor import load_queue
from localrun.supervisor.devices import only_processor
from localrun.supervisor.load_queue import LoadQueue
from localrun.supervisor.memory_history import MemoryHistory
from localrun.supervisor.reservations import DeviceMemory, Reservations
from localrun.supervisor.worker_offers import WorkerOffers
from tests.fakes.fake_worker import WorkerLab
from tests.fakes.starting import fake_model

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localrun.hardware.device import Device
    from localrun.supervisor.reservations import Reservation
    from localrun.supervisor.slots.state import SlotState
    from localrun.workers.command import WorkerCommand
    from localrun.workers.process import WorkerProcess

MIB = 1 << 20
LITTLE = HOST_RESERVE + 16 * MIB  # guide needs more
GUIDE = replace(fake_model("guide:latest"), shards=(embedded_models()["guide:latest"],))
ENOUGH = 500 * MIB  # for guide


@dataclass(eq=False)
class FakeSlot:
    """A slot with a model that is idle, or one whose load waits."""

    num_changes: int = 0  # how often it is seen to change before it is gone
    is_wanted: bool = True
    memory: tuple[tuple[str, int], ...] = ()
    drained: list[FakeSlot] = field(default_factory=list)
    has_pin: bool = False
    is_idle: bool = True
    is_draining: bool = False
    is_starting: bool = False
    last_use: float = 0.0

    @property
    def loaded(self) -> object:
        if not self.memory or self.drained:
            return None
        memory = dict(self.memory)
        size = sum(memory.values())
        ready = Ready(
            num_ctx=1, num_parallel=1, device="CPU", size_bytes=size, load_s=0.0,
            size_gpu_bytes=size - memory.get("CPU", 0), memory=self.memory,
        )  # fmt: skip
        planned = SimpleNamespace(plan=None)
        return SimpleNamespace(ready=ready, planned=planned, ready_at=0.0, load_s=1.0)

    @property
    def runner(self) -> object:
        return SimpleNamespace(stats=Stats(), adapter_bytes=0)

    @property
    def is_changing(self) -> bool:
        self.num_changes -= 1
        return self.num_changes >= 0

    def drain(self) -> None:
        self.drained.append(self)

    def settle(self) -> None:
        pass


class Machine:
    """A machine with little memory and one worker, and a pool's plans for it."""

    def __init__(self) -> None:
        self.lab = WorkerLab("ssh a", "ssh b")
        self.offers = WorkerOffers(self.lab.commands, start=self.lab.start)
        self.history = MemoryHistory()
        self.slots: list[FakeSlot] = []
        self.free_bytes = LITTLE
        self.memory = DeviceMemory(devices=self.devices, history=self.history)
        self.plans = Reservations(self.memory, self.states, threading.Condition())

    def states(self) -> list[SlotState]:
        return cast("list[SlotState]", self.slots)

    def devices(self) -> list[Device]:
        (processor,) = only_processor()
        return [replace(processor, total_bytes=1 << 40, free_bytes=self.free_bytes)]

    def plan(self) -> Reservation:
        return self.plans.plan(GUIDE, None, self.offers, self.states())

    def reserve(self) -> Reservation | None:
        """Return what the load queue admits for guide, without waiting between its looks."""
        queue = LoadQueue(self.memory, self.states, lambda: 100.0)
        waiting = cast("SlotState", FakeSlot())
        return queue.reserve(waiting, GUIDE, None, self.offers)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    monkeypatch.setattr(load_queue, "POLL_S", 0.0)
    found = Machine()
    yield found
    found.lab.close()


def test_short_memory_of_a_worker_is_not_remembered_for_this_machine(machine: Machine) -> None:
    reservation = machine.plan()
    before = reservation.planned.load

    is_smaller = reservation.shrink(LoadError("unable to allocate `ssh a` buffer"))

    assert is_smaller
    assert reservation.planned.load != before
    assert machine.history.tightness(GUIDE, machine.devices) == 1.0


def test_short_memory_of_this_machine_is_remembered_also_with_workers(machine: Machine) -> None:
    assert machine.plan().shrink(LoadError("unable to allocate CPU buffer"))

    assert machine.history.tightness(GUIDE, machine.devices) == 0.75


def test_a_second_try_is_refused_if_a_worker_has_gone_meanwhile(machine: Machine) -> None:
    reservation = machine.plan()
    machine.offers.end()
    machine.lab.away = {"ssh a", "ssh b"}

    with pytest.raises(NetworkError, match=r"guide:latest does not fit here, and the worker `ssh"):
        reservation.shrink(LoadError("out of memory"))


def test_without_other_models_nothing_would_be_better(machine: Machine) -> None:
    machine.history.remember(GUIDE, machine.devices(), 0.75)

    reservation = machine.plan()

    assert machine.plans.plan_without(reservation, []) == reservation.planned.plan


def test_no_worker_is_asked_if_it_is_enough_to_evict_a_model(machine: Machine) -> None:
    machine.slots = [FakeSlot(memory=(("CPU", ENOUGH),))]

    planned = machine.plan().planned

    assert planned.plan is not None
    assert not planned.plan.fits
    assert machine.lab.started == []


def test_a_model_on_a_worker_is_evicted_if_that_makes_another_one_fit(machine: Machine) -> None:
    machine.lab.away, machine.lab.free_bytes = {"ssh b"}, HOST_RESERVE
    machine.slots = [FakeSlot(memory=(("ssh a", ENOUGH),))]
    (slot,) = machine.slots

    with pytest.raises(NetworkError):  # its memory is not free even then
        machine.reserve()

    assert slot.drained == [slot]


def offer_so_little_that_two_workers_are_needed(machine: Machine) -> None:
    for tenths in range(400, 0, -1):
        machine.lab.free_bytes = HOST_RESERVE + tenths * MIB // 10
        machine.offers.end()  # the next plan asks anew
        if len(machine.plan().planned.load.workers) == 2:
            return


def test_models_that_fit_on_workers_beside_each_other_do_not_evict_each_other(
    machine: Machine,
) -> None:
    offer_so_little_that_two_workers_are_needed(machine)
    machine.slots = [FakeSlot(memory=(("ssh a", ENOUGH), ("ssh b", ENOUGH)))]

    reservation = machine.reserve()

    assert reservation is not None
    assert len(reservation.planned.load.workers) == 2
    assert machine.slots[0].drained == []


def test_a_model_that_is_loaded_while_workers_answer_makes_room(machine: Machine) -> None:
    machine.lab.free_bytes = HOST_RESERVE  # for no layer
    loading = FakeSlot(is_starting=True)
    machine.slots = [loading]

    def complete(command: WorkerCommand) -> WorkerProcess:
        loading.is_starting, loading.memory = False, (("CPU", 1),)
        return machine.lab.start(command)

    machine.offers = WorkerOffers(machine.lab.commands, start=complete)
    reservation = machine.reserve()

    assert reservation is not None
    assert loading.drained == [loading]


def test_no_model_is_evicted_for_memory_that_came_free_while_workers_answered(
    machine: Machine,
) -> None:
    leaving, idle = (FakeSlot(memory=(("CPU", 1),)) for _ in range(2))
    machine.slots = [leaving, idle]

    def leave(command: WorkerCommand) -> WorkerProcess:
        leaving.memory, machine.free_bytes = (), HOST_RESERVE + ENOUGH
        return machine.lab.start(command)

    machine.lab.free_bytes = HOST_RESERVE  # for no layer
    machine.offers = WorkerOffers(machine.lab.commands, start=leave)
    reservation = machine.reserve()

    assert reservation is not None
    assert idle.drained == []


def test_memory_that_is_about_to_be_free_is_awaited_before_a_refusal(machine: Machine) -> None:
    machine.lab.away = {"ssh a", "ssh b"}
    idle, leaving = FakeSlot(memory=(("CPU", 1),)), FakeSlot(num_changes=3)
    machine.slots = [idle, leaving]

    with pytest.raises(NetworkError):
        machine.reserve()

    assert leaving.num_changes < 0
    assert idle.drained == []
