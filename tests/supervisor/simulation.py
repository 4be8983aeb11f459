"""A pool in one process without a clock, without models and without chance.

`SimulatedPool` is the real pool with runners whose loads, replies, cancels and crashes happen
when a test says so, in threads that `scheduling` runs one at a time. Each `Sink` counts its ends.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from localrun.engine.params import FinishReason
from localrun.errors import LoadError
from localrun.runner.messages import Detokenize, Failed, Finished, Generate, Ready, Stats
from localrun.supervisor import load_queue, loader, pool
from localrun.supervisor.heartbeat import Heartbeat
from localrun.supervisor.model import RunnerModel
from localrun.supervisor.planning import DEFAULT_RULES
from localrun.supervisor.pool import RunnerPool
from localrun.supervisor.slots import state, worker
from tests.fakes.requests import text_request
from tests.supervisor.scheduling import Scheduler

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.load_rules import LoadRules
    from localrun.runner.messages import Event, Load
    from localrun.supervisor.model import RequestOptions
    from localrun.supervisor.runner import Sink as EventSink
    from localrun.supervisor.slots.request_queue import RequestHandle
    from localrun.supervisor.slots.state import SlotState

SIZES = {"a": 4, "b": 4, "c": 7, "d": 1}  # bytes, by weights
MEMORY = 10
NUM_PARALLEL = 2
DIED = "runner_died"
MAX_ROUNDS = 100


class SimulatedRunner:
    """Takes the place of `Runner`."""

    def __init__(self, world: SimulatedPool, on_end: Callable[[], None]) -> None:
        self._world = world
        self._on_end = on_end
        self._sinks: dict[int, EventSink] = {}
        self._outbox: list[Finished] = []
        self._is_over = False
        self._is_crashing = False
        self.size = 0
        self.outcome: str | None = None  # of the load: "ready", "fails", "dies"
        self.is_loading = False
        self.is_gone = self.was_closed = self.was_load_aborted = self.has_crashed = False
        self.failed_projector: str | None = None
        self.adapter_bytes = 0
        self.stats = Stats()
        self.heartbeat = Heartbeat(world.scheduler.clock)
        world.runners.append(self)

    @property
    def is_alive(self) -> bool:
        return not self._is_over

    @property
    def is_loaded(self) -> bool:
        return self.is_alive and self.outcome == "ready" and not self.is_loading

    @property
    def open_ids(self) -> list[int]:
        return sorted(self._sinks)

    def load(self, load: Load, on_progress: Callable[[float], None]) -> Ready:
        world = self._world
        self.size = SIZES[Path(load.model_paths[0]).stem]
        self.is_loading = True
        world.check_admission(self)
        on_progress(0.5)
        world.scheduler.pause(lambda: self.outcome is not None or self.was_closed)
        self.is_loading = False
        if self.outcome == "ready" and not self.was_closed:
            world.scheduler.start(self._read, "reader")
            return Ready(
                num_ctx=load.num_ctx or 2048,
                num_parallel=NUM_PARALLEL,
                device="CPU",
                size_bytes=self.size,
                size_gpu_bytes=0,
                load_s=0.0,
            )
        self.was_load_aborted = self.was_closed
        has_died = self.outcome == "dies" and not self.was_closed
        self.close()
        self.has_crashed = has_died
        raise LoadError(self.exit_reason())

    def submit_frame(self, request_id: int, frame: bytes, sink: EventSink) -> None:
        assert frame
        if self._is_over:
            sink(_died(request_id))
        else:
            self._sinks[request_id] = sink

    def cancel(self, request_id: int) -> None:
        if request_id in self._sinks:
            self._outbox.append(_finished(request_id, FinishReason.CANCELLED))

    def reply(self, request_id: int) -> None:
        self._outbox.append(_finished(request_id, FinishReason.STOP))

    def crash(self) -> None:
        self._is_crashing = True

    def close(self, *, grace_s: float = 3.0, reason: str = "it was unloaded") -> None:
        assert grace_s >= 0
        assert reason
        self._world.check_close(self)
        self.was_closed = True
        self._end_requests()

    def kill(self, reason: str) -> None:
        raise AssertionError(reason)

    def exit_reason(self) -> str:
        return "exit code 1"

    def _read(self) -> None:
        scheduler = self._world.scheduler
        while not (self._is_over or self._is_crashing):
            scheduler.pause(lambda: bool(self._outbox or self._is_over or self._is_crashing))
            if self._outbox and not self._is_over:
                event = self._outbox.pop(0)
                sink = self._sinks.pop(event.request_id, None)
                if sink is not None:
                    sink(event)
        self._end_requests()

    def _end_requests(self) -> None:
        if not self._is_over:
            self.has_crashed = not self.was_closed
        self._is_over = True
        self._world.scheduler.pause()  # until the process has ended
        orphans, self._sinks = self._sinks, {}
        for request_id, sink in orphans.items():
            sink(_died(request_id))
        self.is_gone = True
        self._on_end()


class Sink:
    """Receives the events of one request."""

    def __init__(self, scheduler: Scheduler, name: str) -> None:
        self._scheduler = scheduler
        self._submitted_at = scheduler.now
        self.name = name
        self.handle: RequestHandle | None = None
        self.ends: list[Finished | Failed] = []

    def __call__(self, event: Event) -> None:
        require = self._scheduler.require
        assert isinstance(event, Finished | Failed)
        self.ends.append(event)
        require(len(self.ends) == 1, f"{self.name} ended twice: {self.ends}")
        require("bug" not in getattr(event, "message", ""), f"{self.name}: a worker failed")
        if self.handle is not None:
            waited_s = self._scheduler.now - self._submitted_at
            require(0 <= self.handle.load_s <= waited_s, f"{self.name} waited {waited_s} s")


class SimulatedPool:
    """A pool, its runners and all its requests."""

    def __init__(
        self,
        seed: int,
        *,
        keep_alive_s: float | None = 300,
        rules: LoadRules = DEFAULT_RULES,
    ) -> None:
        self.scheduler = Scheduler(seed)
        self.runners: list[SimulatedRunner] = []
        self.sinks: list[Sink] = []
        self.ever_pinned: set[RunnerModel] = set()
        self.is_closing = False
        self._patches = pytest.MonkeyPatch()
        for module in (load_queue, pool, state, worker):
            self._patches.setattr(module, "threading", self.scheduler.threading)
        self._patches.setattr(pool, "HealthMonitor", _NoMonitor)
        self._patches.setattr(loader, "Runner", lambda _, end, _workers: SimulatedRunner(self, end))
        self.pool = RunnerPool(
            keep_alive_s=keep_alive_s,
            clock=self.scheduler.clock,
            rules=rules,
            free_bytes=lambda: MEMORY - sum(runner.size for runner in self.alive_runners()),
        )

    def submit(self, model: RunnerModel, options: RequestOptions, kind: str = "generate") -> Sink:
        """Submit a request of a kind: "generate", "tokenize" or "load"."""
        sink = Sink(self.scheduler, f"{kind} {len(self.sinks)} of {model.name}")
        self.sinks.append(sink)
        request: Generate | Detokenize | None = None
        if kind == "generate":
            request = text_request("x")
        elif kind == "tokenize":
            request = Detokenize(request_id=0, tokens=(1,))
        if options.pins:
            self.ever_pinned.add(model.shared)
        sink.handle = self.pool._put(self.pool._pending(model, request, sink, options))
        return sink

    def alive_runners(self) -> list[SimulatedRunner]:
        return [runner for runner in self.runners if not runner.is_gone]

    def slots(self) -> list[SlotState]:
        return self.pool._slot_states()

    def slot_of(self, runner: SimulatedRunner) -> SlotState | None:
        loaded = ((slot, cast("object", slot.runner)) for slot in self.slots())
        return next((slot for slot, present in loaded if present is runner), None)

    def run(self) -> None:
        """Run all threads until they wait, and raise what failed in one."""
        self.scheduler.run_until_idle()
        self.scheduler.raise_errors()

    def is_quiet(self) -> bool:
        """Return whether all requests have ended and no load is under way."""
        return all(sink.ends for sink in self.sinks)

    def finish_everything(self) -> None:
        """Let all loads succeed and all requests get their replies."""
        for _ in range(MAX_ROUNDS):
            if self.is_quiet():
                break
            for runner in self.alive_runners():
                runner.outcome = runner.outcome or "ready"
                for request_id in runner.open_ids:
                    runner.reply(request_id)
            self.run()
            self.scheduler.now += 1.0  # the load queue polls, and busy models get their time
        self.run()
        assert self.is_quiet(), "a request never ends"

    def check_admission(self, runner: SimulatedRunner) -> None:
        """Check a load that begins against the loads and models that are there."""
        require = self.scheduler.require
        others = [other for other in self.alive_runners() if other is not runner]
        loading = [other for other in others if other.is_loading and not other.was_closed]
        require(not loading, "two loads at once on one device")
        free = MEMORY - sum(other.size for other in others)
        if free < runner.size * load_queue.MEMORY_FACTOR:
            slots = [self.slot_of(other) for other in others if other.is_loaded]
            evictable = [slot for slot in slots if slot and slot.key not in self.ever_pinned]
            require(not evictable, f"{free} bytes are free for {runner.size}")

    def check_close(self, runner: SimulatedRunner) -> None:
        """Check that a pinned model is unloaded for a larger context only."""
        slot = self.slot_of(runner)
        if (
            slot is not None
            and runner.is_loaded
            and not (self.is_closing or slot._contents.is_starting)
        ):
            self.scheduler.require(
                not slot._contents.served.has_pin, f"{slot.key.weights} is pinned"
            )

    def close(self) -> None:
        """Close the pool; all requests end, those that wait for memory when they look again."""
        self.is_closing = True
        self.pool.close()
        self.run()
        self.scheduler.now += load_queue.POLL_S
        self.run()

    def stop(self) -> None:
        """End the simulation where it is."""
        self.scheduler.stop()
        self._patches.undo()


class _NoMonitor:
    """Takes the place of `HealthMonitor`: no simulated runner hangs."""

    def __init__(self, *_: object) -> None:
        pass

    def start(self) -> None:
        pass

    def wake(self) -> None:
        pass


def simulated_model(name: str, weights: str) -> RunnerModel:
    """Return a model; those on the same weights share a runner."""
    return RunnerModel(
        name=name,
        shards=(Path(f"/nowhere/{weights}.gguf"),),
        digest=f"sha256:{name}",
        size_bytes=SIZES[weights],
        weights=(weights,),
    )


def _finished(request_id: int, reason: FinishReason) -> Finished:
    return Finished(
        request_id=request_id,
        reason=reason,
        prompt_tokens=1,
        cached_tokens=0,
        generated_tokens=1,
        queue_s=0.0,
        prompt_s=0.0,
        generation_s=0.0,
    )


def _died(request_id: int) -> Failed:
    return Failed(request_id=request_id, code=DIED, message="the model went away")
