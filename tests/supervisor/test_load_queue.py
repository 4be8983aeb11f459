from __future__ import annotations

import pytest

from localrun.load_rules import LoadRules
from localrun.runner.messages import Failed
from localrun.supervisor.model import RequestOptions
from tests.supervisor.simulation import SimulatedPool, simulated_model


@pytest.mark.parametrize("seed", range(10))
def test_a_load_that_is_wanted_again_while_it_leaves_the_queue_begins_a_new_wait(
    seed: int,
) -> None:
    for num_steps in range(8):
        world = SimulatedPool(seed)
        first, second, third = (simulated_model(name, name) for name in "abd")
        for model in (first, third):
            world.submit(model, RequestOptions())
            world.run()
        leaving = world.submit(second, RequestOptions())
        world.run()
        assert leaving.handle is not None

        leaving.handle.cancel()
        world.scheduler.now += 1.0  # the load checks whether it is wanted, and is preempted
        for _ in range(num_steps):
            world.scheduler.step()
        world.submit(second, RequestOptions())
        world.run()
        world.finish_everything()  # fails if two loads begin at once

        assert [len(sink.ends) for sink in world.sinks] == [1] * 4
        world.close()
        world.stop()


@pytest.mark.parametrize("seeds", [range(250, 300), range(580, 600)])  # 267 and 595 did fail
def test_a_load_that_ends_while_another_is_admitted_counts(seeds: range) -> None:
    for seed in seeds:
        world = SimulatedPool(seed)
        for name, weights in (("one", "a"), ("four", "c")):
            world.submit(simulated_model(name, weights), RequestOptions())
            world.run()
        world.runners[0].outcome = "ready"

        world.scheduler.now += 1.0  # the second looks at the first, which ends its load
        world.run()
        world.finish_everything()  # fails if both have memory at once

        world.close()
        world.stop()


def test_an_idle_model_makes_room_and_a_pinned_one_does_not() -> None:
    world = SimulatedPool(seed=0)
    for name, weights, pins in (("one", "a", False), ("three", "b", True)):
        world.submit(simulated_model(name, weights), RequestOptions(pins=pins), "load")
        world.finish_everything()

    world.submit(simulated_model("four", "c"), RequestOptions())
    world.finish_everything()

    assert [model.name for model in world.pool.running()] == ["four", "three"]
    world.close()
    world.stop()


def loaded_names(world: SimulatedPool) -> list[str]:
    return [model.name for model in world.pool.running()]


def test_beyond_the_number_of_models_the_one_unused_longest_is_evicted() -> None:
    world = SimulatedPool(seed=0, rules=LoadRules(max_models=2))
    for name, weights in (("one", "a"), ("two", "d"), ("one", "a"), ("three", "b")):
        world.submit(simulated_model(name, weights), RequestOptions())
        world.finish_everything()
        world.scheduler.now += 1.0

    assert loaded_names(world) == ["one", "three"]  # both would fit beside the other
    world.close()
    world.stop()


@pytest.mark.parametrize("seed", range(10))
def test_with_all_models_busy_a_load_queues_until_one_had_its_turn(seed: int) -> None:
    world = SimulatedPool(seed, rules=LoadRules(max_models=1))
    first, second = simulated_model("one", "a"), simulated_model("two", "d")
    world.submit(first, RequestOptions())
    world.run()
    for runner in world.alive_runners():
        runner.outcome = "ready"
    world.run()
    waiting = world.submit(second, RequestOptions())
    world.run()

    assert loaded_names(world) == ["one"]
    assert waiting.ends == []
    world.finish_everything()
    assert loaded_names(world) == ["two"]
    assert len(world.alive_runners()) == 1
    world.close()
    world.stop()


def test_a_load_fails_if_all_models_allowed_are_pinned() -> None:
    world = SimulatedPool(seed=0, rules=LoadRules(max_models=1))
    world.submit(simulated_model("one", "a"), RequestOptions(pins=True), "load")
    world.finish_everything()

    refused = world.submit(simulated_model("two", "d"), RequestOptions())
    world.finish_everything()

    (end,) = refused.ends
    assert isinstance(end, Failed)
    assert end.message.startswith("LOCALRUN_MAX_MODELS allows 1, and what is loaded is pinned: one")
    assert loaded_names(world) == ["one"]
    world.close()
    world.stop()


@pytest.mark.parametrize("seed", range(5))
def test_models_that_load_at_the_same_time_count_too(seed: int) -> None:
    world = SimulatedPool(seed, rules=LoadRules(max_models=1))
    for name, weights in (("one", "d"), ("two", "a"), ("three", "b")):
        world.submit(simulated_model(name, weights), RequestOptions())
    for _ in range(20):
        world.run()
        assert len(world.alive_runners()) <= 1
        for runner in world.alive_runners():
            runner.outcome = runner.outcome or "ready"
            for request_id in runner.open_ids:
                runner.reply(request_id)
        world.scheduler.now += 1.0

    world.finish_everything()
    world.close()
    world.stop()
