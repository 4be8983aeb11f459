"""Properties of the pool under any interleaving of what clients, runners and threads do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from localrun.errors import NotFoundError, OverloadedError
from localrun.supervisor.model import KeepAlive, RequestOptions
from localrun.supervisor.slots.contents import AHEAD
from tests.supervisor.simulation import (
    NUM_PARALLEL,
    SimulatedPool,
    SimulatedRunner,
    Sink,
    simulated_model,
)

if TYPE_CHECKING:
    from localrun.supervisor.slots.state import SlotState

WEIGHTS = {"one": "a", "two": "a", "three": "b", "four": "c"}  # of each name at first
TARGETS = ["one", "two", "five", "six"]
REMOVED = "the model was removed"
keep_alives = st.sampled_from([None, KeepAlive(0), KeepAlive(60), KeepAlive(None)])
indexes = st.integers(0, 7)
steps = st.sampled_from([0, 3, 30, 30])  # of threads, after an act: mostly until all wait


class PoolMachine(RuleBasedStateMachine):
    """Clients, runners and the clock do something; threads run in an order that the seed gives."""

    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed: int) -> None:
        self.world = SimulatedPool(seed)
        self.weights = dict(WEIGHTS)  # by name, as the store has them

    def pick(self, index: int, *, is_loading: bool) -> SimulatedRunner | None:
        runners = [
            runner
            for runner in self.world.alive_runners()
            if (runner.is_loading if is_loading else runner.is_loaded)
        ]
        return runners[index % len(runners)] if runners else None

    @rule(
        name=indexes,
        kind=st.sampled_from(["generate", "generate", "generate", "tokenize", "load"]),
        client=st.sampled_from("xy"),
        num_ctx=st.sampled_from([None, None, 512, 4096]),
        keep_alive=keep_alives,
        pins=st.sampled_from([False, False, False, True]),
        num_steps=steps,
    )
    def submit(
        self,
        *,
        name: int,
        kind: str,
        client: str,
        num_ctx: int | None,
        keep_alive: KeepAlive | None,
        pins: bool,
        num_steps: int,
    ) -> None:
        spelled = sorted(self.weights)[name % len(self.weights)]
        options = RequestOptions(num_ctx=num_ctx, keep_alive=keep_alive, client=client, pins=pins)
        try:
            self.world.submit(simulated_model(spelled, self.weights[spelled]), options, kind)
        except OverloadedError:  # the model has crashed too often
            self.world.sinks.pop()
            assert self.world.pool._context.crashes.failing()
        self.run_threads(num_steps)

    @rule(index=indexes)
    def cancel(self, index: int) -> None:
        pending = [sink for sink in self.world.sinks if not sink.ends]
        if pending:
            handle = pending[index % len(pending)].handle
            assert handle is not None
            handle.cancel()

    @rule(index=indexes, outcome=st.sampled_from(["ready"] * 8 + ["fails", "dies"]), num=steps)
    def end_load(self, index: int, outcome: str, num: int) -> None:
        runner = self.pick(index, is_loading=True)
        if runner is not None:
            runner.outcome = runner.outcome or outcome
        self.run_threads(num)

    @rule(index=indexes, num=st.integers(1, 4), num_steps=steps)
    def reply(self, index: int, num: int, num_steps: int) -> None:
        runner = self.pick(index, is_loading=False)
        if runner is not None:
            for request_id in runner.open_ids[:num]:
                runner.reply(request_id)
        self.run_threads(num_steps)

    @rule(index=indexes)
    def crash(self, index: int) -> None:
        runner = self.pick(index, is_loading=False)
        if runner is not None:
            runner.crash()

    @rule(index=indexes)
    def unload(self, index: int) -> None:
        names = self.world.pool.names.all()
        if names:
            now = self.world.scheduler.now
            self.world.pool.unload(names[index % len(names)])
            assert self.world.scheduler.now == now, "unloading missed a notification"

    @rule(old=st.sampled_from(TARGETS), new=st.sampled_from(TARGETS))
    def rename(self, old: str, new: str) -> None:
        weights = self.weights.get(old)
        if weights is not None and self.weights.get(new, weights) == weights:
            self.weights[new] = self.weights.pop(old)
            self.world.pool.names.rename(old, new)

    @rule(index=indexes)
    def drop(self, index: int) -> None:
        loaded = self.world.pool.names.loaded()
        if loaded:
            self.world.pool.names.drop(loaded[index % len(loaded)])

    @rule(index=indexes)
    def remove(self, index: int) -> None:
        names = self.world.pool.names.all()
        if names:
            name, now = names[index % len(names)], self.world.scheduler.now
            running = self.pending_for(name)
            self.world.pool.names.remove(name, NotFoundError(REMOVED))
            assert self.world.scheduler.now == now, "removing missed a notification"
            self.world.run()  # a runner's reader counts an end, then reports it
            assert all(sink.ends for sink in running)

    @rule(seconds=st.sampled_from([0.3, 3.0, 3.0, 61.0, 301.0]), num=steps)
    def wait(self, seconds: float, num: int) -> None:
        self.world.scheduler.now += seconds
        self.run_threads(num)

    @rule(num=st.integers(1, 6))
    def run_threads(self, num: int) -> None:
        for _ in range(num):
            self.world.scheduler.step()

    @rule()
    def run_all_threads(self) -> None:
        self.world.run()
        for slot in self.world.slots():
            check_idle_slot(slot, self.world.scheduler.now)

    @invariant()
    def no_thread_failed(self) -> None:
        if hasattr(self, "world"):
            self.world.scheduler.raise_errors()

    def pending_for(self, name: str) -> list[Sink]:
        return [
            sink
            for sink in self.world.sinks
            if not sink.ends and sink.handle and sink.handle.request.model.name == name
        ]

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        try:
            if self.world.scheduler.errors:
                return
            if len(self.world.sinks) % 2:
                self.world.close()
            else:
                self.check_that_all_goes_by_itself()
            assert [len(sink.ends) for sink in self.world.sinks] == [1] * len(self.world.sinks)
            assert self.world.alive_runners() == []
            assert self.world.scheduler.tasks == [], "a thread is left"
        finally:
            self.world.stop()

    def check_that_all_goes_by_itself(self) -> None:
        world = self.world
        world.finish_everything()
        for name in world.pool.names.all():
            world.pool.unload(name)
        world.scheduler.now += 10**6
        world.run()
        assert world.slots() == [], "a slot is left"


def check_idle_slot(slot: SlotState, now: float) -> None:
    """Check a slot whose worker has nothing to do."""
    runner = slot._contents.runner
    if slot._contents.is_starting or runner is None or not runner.is_alive:
        assert slot._contents.is_starting or not slot.is_wanted, (
            "requests wait, and no load is under way"
        )
        return
    num_running = len(slot._contents.running)
    served = slot.served_names().values()
    assert slot.loaded is not None
    assert num_running or slot.is_wanted or not slot.is_draining
    assert num_running or slot.is_wanted or any(not name.is_expired(now) for name in served), (
        "a model is loaded that no name keeps"
    )
    assert num_running == sum(name.num_open for name in served)
    if slot.num_waiting and not slot.is_draining:
        needs_reload = slot._contents.queue.max_num_ctx > slot.loaded.num_ctx
        is_full = num_running >= NUM_PARALLEL + AHEAD  # tokenizing does not queue
        assert is_full or (needs_reload and num_running), (
            "a request waits although the runner could take it"
        )


TestPool = PoolMachine.TestCase
TestPool.settings = settings(
    max_examples=200,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
