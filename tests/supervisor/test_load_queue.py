from __future__ import annotations

import pytest

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
