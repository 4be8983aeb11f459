from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from localrun.errors import NetworkError
from localrun.supervisor.worker_offers import FRESH_S, WorkerOffers
from localrun.workers.command import WorkerCommand, parse_commands
from tests.workers.hellos import GIB, far_device, hello

if TYPE_CHECKING:
    from localrun.workers.hello import WorkerHello
    from localrun.workers.process import WorkerProcess


class FakeWorker:
    """A command that answers with less memory each time, until it is gone."""

    def __init__(self, lab: Lab, name: str) -> None:
        self._lab, self.name, self.is_alive = lab, name, True

    def read_hello(self) -> WorkerHello:
        if self.name in self._lab.away or not self.is_alive:
            raise NetworkError(f"the worker `{self.name}` cannot be used: no such host")
        self._lab.num_hellos += 1
        return hello(far_device(8 * GIB - self._lab.num_hellos))

    refresh = read_hello

    def start(self) -> None:
        if not self.is_alive:
            raise NetworkError("it ended")

    def end(self, _grace_s: float = 1.0) -> None:
        self.is_alive = False


class Lab:
    """Two workers and a clock."""

    def __init__(self) -> None:
        self.away: set[str] = set()
        self.started: list[FakeWorker] = []
        self.num_hellos, self.now = 0, 0.0
        self.offers = WorkerOffers(
            parse_commands(["ssh a", "ssh b"]), start=self.start, clock=lambda: self.now
        )

    def start(self, command: WorkerCommand) -> WorkerProcess:
        self.started.append(FakeWorker(self, command.name))
        return cast("WorkerProcess", self.started[-1])

    @property
    def alive(self) -> list[str]:
        return sorted(worker.name for worker in self.started if worker.is_alive)


@pytest.fixture
def lab() -> Lab:
    return Lab()


def test_no_command_is_started_before_somebody_asks(lab: Lab) -> None:
    assert lab.started == []
    assert WorkerOffers().ask() == []


def test_offers_are_in_the_order_of_the_commands(lab: Lab) -> None:
    assert [offer.name for offer in lab.offers.ask()] == ["ssh a", "ssh b"]


def test_a_fresh_offer_is_not_asked_for_again_and_an_old_one_by_the_same_command(lab: Lab) -> None:
    lab.offers.ask()
    lab.offers.ask()
    assert (len(lab.started), lab.num_hellos) == (2, 2)

    lab.now = FRESH_S + 1
    lab.offers.ask()
    assert (len(lab.started), lab.num_hellos) == (2, 4)


def test_a_command_that_has_ended_is_started_again(lab: Lab) -> None:
    lab.offers.ask()
    lab.started[0].is_alive = False

    offers = lab.offers.ask()

    assert all(offer.hello for offer in offers)
    assert len(lab.started) == 3


def test_a_worker_that_is_away_is_an_offer_without_devices(lab: Lab) -> None:
    lab.away = {"ssh a"}
    first, second = lab.offers.ask()

    assert first.error is not None
    assert "no such host" in first.error.message
    assert (len(first.devices), len(second.devices)) == (0, 1)
    assert lab.alive == ["ssh b"]


def test_a_waiting_load_does_not_ask_a_worker_that_is_away_all_the_time(lab: Lab) -> None:
    lab.away = {"ssh a"}
    for _ in range(5):
        lab.offers.ask()
    assert len(lab.started) == 2

    lab.offers.end_ready()  # the load has ended
    lab.away = set()
    assert all(offer.hello for offer in lab.offers.ask())


def test_what_no_load_takes_is_ended(lab: Lab) -> None:
    lab.offers.ask()
    taken = lab.offers.take(["ssh b"])
    lab.offers.end_ready()

    assert lab.alive == ["ssh b"]
    taken.end()
    assert lab.alive == []


def test_a_worker_that_ended_since_the_plan_is_started_again(lab: Lab) -> None:
    lab.offers.ask()
    lab.started[0].is_alive = False

    assert len(lab.offers.take(["ssh a", "ssh b"]).processes) == 2
    assert lab.alive == ["ssh a", "ssh b"]


def test_if_one_cannot_be_had_the_others_are_ended(lab: Lab) -> None:
    lab.offers.ask()
    lab.started[1].is_alive = False
    lab.away = {"ssh b"}

    with pytest.raises(NetworkError, match="no such host"):
        lab.offers.take(["ssh a", "ssh b"])

    assert lab.alive == []
