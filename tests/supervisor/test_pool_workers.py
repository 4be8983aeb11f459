"""Loads over workers in a pool: what is asked, what is evicted, and what is left."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from localrun.hardware.plan import HOST_RESERVE
from localrun.runner.messages import Failed, Finished
from localrun.store.store import embedded_models
from localrun.supervisor.devices import only_processor
from localrun.supervisor.pool import RunnerPool
from localrun.supervisor.worker_offers import ServerWorkers
from tests.fakes.fake_worker import WorkerLab
from tests.fakes.requests import text_request
from tests.fakes.starting import Collector, fake_model, start_fake
from tests.waiting import HANG_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localrun.hardware.device import Device
    from localrun.supervisor.runner_process import StartedRunner

LITTLE = HOST_RESERVE + (16 << 20)  # bytes; guide needs more
GUIDE = replace(fake_model("guide:latest"), shards=(embedded_models()["guide:latest"],))


class World:
    """A pool on a machine with little memory, with one worker."""

    def __init__(self) -> None:
        self.lab = WorkerLab("ssh a", "ssh b")
        self.num_runners = 0
        self.pool = RunnerPool(
            keep_alive_s=300,
            start=self._start,
            devices=self._devices,
            workers=ServerWorkers(self.lab.commands, start=self.lab.start),
        )

    def load(self) -> Collector:
        sink = Collector()
        self.handle = self.pool.submit(GUIDE, text_request("say yes"), sink)
        return sink

    def names(self) -> list[str]:
        return [model.name for model in self.pool.running()]

    def _start(self) -> StartedRunner:
        self.num_runners += 1
        return start_fake()

    def _devices(self) -> list[Device]:
        (processor,) = only_processor()
        return [replace(processor, free_bytes=LITTLE)]


@pytest.fixture
def world() -> Iterator[World]:
    found = World()
    yield found
    found.lab.may_end.set()
    found.pool.close()
    found.lab.close()


def test_without_its_workers_a_model_is_refused_before_another_one_is_evicted(
    world: World,
) -> None:
    world.pool.load(fake_model())
    world.lab.away = {"ssh a", "ssh b"}

    end = world.load().until_end()

    assert isinstance(end, Failed)
    assert end.message.startswith("guide:latest does not fit here, and the worker `ssh a` cannot")
    assert world.names() == ["fake:latest"]
    assert world.num_runners == 1


def test_one_worker_is_enough_if_the_other_is_away(world: World) -> None:
    world.lab.away = {"ssh a"}

    assert isinstance(world.load().until_end(), Finished)

    assert world.lab.loading == ["ssh b"]


def test_an_answer_waits_for_no_command_that_was_not_needed(world: World) -> None:
    world.lab.may_end.clear()

    end = world.load().until_end()

    assert isinstance(end, Finished)
    assert world.lab.alive == ["ssh a", "ssh b"]
    world.lab.may_end.set()
    wait_until(lambda: world.lab.alive == world.lab.loading)


def test_a_load_that_nobody_waits_for_after_the_answer_of_a_worker_takes_none(
    world: World,
) -> None:
    world.lab.silent = {"ssh b"}
    sink = world.load()
    assert world.lab.asked.wait(HANG_S)

    world.handle.cancel()
    sink.until_end()
    world.lab.worker("ssh b").answer()

    wait_until(lambda: world.lab.alive == [])
    assert (world.lab.loading, world.num_runners) == ([], 0)


def test_a_pool_that_closes_waits_for_no_worker(world: World) -> None:
    world.lab.silent = {"ssh b"}
    sink = world.load()
    assert world.lab.asked.wait(HANG_S)

    world.pool.close()

    end = sink.until_end()
    assert isinstance(end, Failed)
    assert end.message == "the server is leaving"
    wait_until(lambda: world.lab.alive == [])
