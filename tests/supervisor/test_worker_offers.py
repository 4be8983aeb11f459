from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from localrun.errors import NetworkError, OverloadedError
from localrun.supervisor.worker_offers import FRESH_S, ServerWorkers, WorkerOffers
from tests.fakes.fake_worker import WorkerLab
from tests.waiting import HANG_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localrun.workers.command import WorkerCommand
    from localrun.workers.process import WorkerProcess


@pytest.fixture
def lab() -> Iterator[WorkerLab]:
    found = WorkerLab("ssh a", "ssh b")
    yield found
    found.close()


@pytest.fixture
def offers(lab: WorkerLab) -> WorkerOffers:
    return WorkerOffers(lab.commands, start=lab.start, clock=lab.clock)


@pytest.fixture
def server(lab: WorkerLab) -> ServerWorkers:
    return ServerWorkers(lab.commands, start=lab.start, clock=lab.clock)


def test_no_command_is_started_before_somebody_asks(lab: WorkerLab, offers: WorkerOffers) -> None:
    assert offers.take([]).processes == []
    assert lab.started == []
    assert WorkerOffers().ask() == []


def test_offers_are_in_the_order_of_the_commands(offers: WorkerOffers) -> None:
    assert [offer.name for offer in offers.ask()] == ["ssh a", "ssh b"]


def test_a_fresh_offer_is_not_asked_for_again_and_an_old_one_by_the_same_command(
    lab: WorkerLab, offers: WorkerOffers
) -> None:
    offers.ask()
    offers.ask()
    assert (len(lab.started), lab.num_hellos) == (2, 2)

    lab.now = FRESH_S + 1
    offers.ask()
    assert (len(lab.started), lab.num_hellos) == (2, 4)


def test_a_command_that_has_ended_is_started_again(lab: WorkerLab, offers: WorkerOffers) -> None:
    offers.ask()
    lab.worker("ssh a").is_alive = False

    again = offers.ask()

    assert all(offer.hello for offer in again)
    assert len(lab.started) == 3


def test_a_command_that_stops_answering_is_away_and_not_started_again(
    lab: WorkerLab, offers: WorkerOffers
) -> None:
    offers.ask()
    lab.away, lab.now = {"ssh a"}, FRESH_S + 1

    first, second = offers.ask()

    assert (first.hello, second.error) == (None, None)
    assert (len(lab.started), lab.alive) == (2, ["ssh b"])


def test_a_worker_that_is_away_is_an_offer_without_devices(
    lab: WorkerLab, offers: WorkerOffers
) -> None:
    lab.away = {"ssh a"}
    first, second = offers.ask()

    assert first.error is not None
    assert "no such host" in first.error.message
    assert (len(first.devices), len(second.devices)) == (0, 1)
    assert lab.alive == ["ssh b"]


def test_a_waiting_load_does_not_ask_a_worker_that_is_away_all_the_time(
    lab: WorkerLab, server: ServerWorkers
) -> None:
    lab.away = {"ssh a"}
    with server.offers() as offers:
        for _ in range(5):
            offers.ask()
    assert len(lab.started) == 2

    lab.away = set()
    with server.offers() as offers:  # of the next load
        assert all(offer.hello for offer in offers.ask())


def test_what_no_load_takes_is_ended(lab: WorkerLab, offers: WorkerOffers) -> None:
    offers.ask()
    taken = offers.take(["ssh b"])
    offers.end()

    wait_until(lambda: lab.alive == ["ssh b"])
    taken.end()
    assert lab.alive == []


def test_each_load_has_its_own_commands(lab: WorkerLab, server: ServerWorkers) -> None:
    first, second = server.offers(), server.offers()
    first.ask()
    second.ask()

    first.end()

    wait_until(lambda: len(lab.alive) == 2)
    assert len(second.take(["ssh a", "ssh b"]).processes) == 2
    assert len(lab.started) == 4


def test_a_load_does_not_wait_for_commands_that_end_slowly(
    lab: WorkerLab, offers: WorkerOffers
) -> None:
    offers.ask()
    lab.may_end.clear()

    offers.end()

    assert lab.alive == ["ssh a", "ssh b"]
    lab.may_end.set()
    wait_until(lambda: lab.alive == [])


def test_the_workers_of_a_runner_start_at_the_same_time(
    lab: WorkerLab, offers: WorkerOffers
) -> None:
    lab.barrier = threading.Barrier(2, timeout=HANG_S)  # broken if one waits for the other
    offers.ask()

    taken = offers.take(["ssh b", "ssh a"])

    assert [process.name for process in taken.processes] == ["ssh b", "ssh a"]


def test_a_worker_that_ended_since_the_plan_is_started_again(
    lab: WorkerLab, offers: WorkerOffers
) -> None:
    offers.ask()
    lab.worker("ssh a").is_alive = False

    assert len(offers.take(["ssh a", "ssh b"]).processes) == 2
    assert lab.alive == ["ssh a", "ssh b"]


def test_if_one_cannot_be_had_the_others_are_ended(lab: WorkerLab, offers: WorkerOffers) -> None:
    offers.ask()
    lab.worker("ssh b").is_alive = False
    lab.away = {"ssh b"}

    with pytest.raises(NetworkError, match="no such host"):
        offers.take(["ssh a", "ssh b"])

    assert lab.alive == []


def test_a_server_that_closes_waits_for_no_answer_and_starts_nothing_more(
    lab: WorkerLab, server: ServerWorkers
) -> None:
    lab.silent = {"ssh a"}
    offers, (_, second) = server.offers(), lab.commands
    with ThreadPoolExecutor(1) as executor:
        answer = executor.submit(offers.ask)
        assert lab.asked.wait(HANG_S)
        wait_until(lambda: len(lab.started) == 2)

        server.close()

        answer.result(HANG_S)
    assert lab.alive == []
    with pytest.raises(OverloadedError, match="the server is leaving"):
        server.offers().take([second.name])


def test_nobody_waits_for_a_silent_worker_after_ctrl_c(
    lab: WorkerLab, caplog: pytest.LogCaptureFixture
) -> None:
    lab.silent = {"ssh b"}

    def start(command: WorkerCommand) -> WorkerProcess:
        if command.name == "ssh a":
            assert lab.asked.wait(HANG_S)
            raise KeyboardInterrupt
        return lab.start(command)

    with pytest.raises(KeyboardInterrupt), WorkerOffers(lab.commands, start=start) as offers:
        offers.ask()

    assert lab.alive == []
    assert caplog.messages == []  # it was not the fault of a worker


def test_whoever_ends_the_workers_of_a_runner_second_waits_for_their_end(
    lab: WorkerLab, offers: WorkerOffers
) -> None:
    taken = offers.take(["ssh a", "ssh b"])
    lab.may_end.clear()
    with ThreadPoolExecutor(2) as executor:
        first = executor.submit(taken.end)
        wait_until(lambda: lab.graces)
        second = executor.submit(taken.end)
        with pytest.raises(TimeoutError):
            second.result(0.1)

        lab.may_end.set()

        first.result(HANG_S)
        second.result(HANG_S)
    assert lab.alive == []
