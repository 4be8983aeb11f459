from __future__ import annotations

import ast
import inspect
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from localrun import supervisor
from localrun.errors import NotFoundError
from localrun.runner.messages import Ready
from localrun.supervisor.model import KeepAlive, RunnerModel
from localrun.supervisor.planning import plan_load
from localrun.supervisor.slots import contents as contents_module
from localrun.supervisor.slots import state as state_module
from localrun.supervisor.slots.contents import SlotAction, SlotLoad
from localrun.supervisor.slots.request_queue import PendingRequest
from localrun.supervisor.slots.state import SlotState
from tests.supervisor.scheduling import Scheduler
from tests.supervisor.simulation import SimulatedPool, SimulatedRunner, simulated_model

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from localrun.runner.messages import Event
    from localrun.supervisor.runner import Runner

FILES = sorted(Path(next(iter(supervisor.__path__))).rglob("*.py"))
WORKERS_OWN = {"__init__"}  # runs before other threads know the object


@pytest.fixture
def world() -> Iterator[SimulatedPool]:
    world = SimulatedPool(seed=0)
    yield world
    world.stop()


@pytest.fixture
def state(world: SimulatedPool) -> SlotState:
    return SlotState(simulated_model("one", "a"), world.scheduler.clock)


def request(number: int = 1, **changes: object) -> tuple[PendingRequest, list[Event]]:
    events: list[Event] = []
    pending = PendingRequest(
        request_id=number,
        model=simulated_model("one", "a"),
        frame=b"frame",
        sink=events.append,
        client="",
        num_ctx=None,
        keep_alive=KeepAlive(60),
        submitted_at=1000.0,
    )
    for name, value in changes.items():
        setattr(pending, name, value)
    return pending, events


def loaded(model: RunnerModel, num_parallel: int = 1) -> SlotLoad:
    ready = Ready(
        num_ctx=2048,
        num_parallel=num_parallel,
        device="CPU",
        size_bytes=4,
        size_gpu_bytes=0,
        load_s=0.0,
    )
    planned = plan_load(model, None, list)
    return SlotLoad(
        ready=ready, planned=planned, model=model, num_ctx=2048, ready_at=1000.0, load_s=1.0
    )


def load(world: SimulatedPool, state: SlotState) -> SimulatedRunner:
    """Do what a worker does for a load."""
    runner = SimulatedRunner(world, state.notify)
    assert state.wait_for_action() is SlotAction.LOAD
    state.begin_runner(cast("Runner", runner), "one")
    runner.outcome = "ready"
    state.complete_load(loaded(state.key))
    state.end_load()
    return runner


def test_settle_ends_when_a_load_begins(state: SlotState, world: SimulatedPool) -> None:
    scheduler = world.scheduler
    settling = scheduler.start(state.settle, "settle")
    scheduler.run_until_idle()
    state.enqueue(request()[0])
    scheduler.run_until_idle()
    waited = not settling.has_ended

    action = state.wait_for_action()
    scheduler.run_until_idle()

    assert waited
    assert action is SlotAction.LOAD
    assert settling.has_ended, "it waits for the next check of the health monitor"


def test_a_request_counts_as_running_as_soon_as_it_is_chosen(
    state: SlotState, world: SimulatedPool
) -> None:
    pending, _ = request()
    state.enqueue(pending)
    load(world, state)

    chosen = state.wait_for_action()

    assert chosen is pending
    assert state.num_waiting == 0
    assert state.names() == {"one"}
    assert not state.is_idle
    state.finish(pending)
    assert state.is_idle


def test_a_draining_slot_unloads_after_its_requests_and_sends_no_more(
    state: SlotState, world: SimulatedPool
) -> None:
    first, second = request(1)[0], request(2)[0]
    state.enqueue(first)
    load(world, state)
    assert state.wait_for_action() is first
    state.enqueue(second)

    state.drain()
    state.finish(first)

    assert state.wait_for_action() is SlotAction.UNLOAD
    state.unloaded()
    assert state.wait_for_action() is SlotAction.LOAD
    assert state.num_waiting == 1


def test_a_pinned_slot_does_not_drain(state: SlotState, world: SimulatedPool) -> None:
    pending, _ = request(pins=True)
    state.enqueue(pending)
    load(world, state)
    state.wait_for_action()

    state.drain()

    assert state.has_pin
    assert not state.is_draining


def test_a_larger_context_reloads_when_nothing_runs(state: SlotState, world: SimulatedPool) -> None:
    small, large = request(1)[0], request(2, num_ctx=4096)[0]
    state.enqueue(small)
    load(world, state)
    assert state.wait_for_action() is small
    state.finish(small)
    state.enqueue(large)

    assert state.wait_for_action() is SlotAction.LOAD


def test_a_closed_slot_takes_no_request_and_its_worker_stops(state: SlotState) -> None:
    pending, events = request()
    state.enqueue(pending)

    removed = state.close()

    assert removed.waiting == (pending,)
    assert removed.aborts_load
    assert events == []  # the caller ends it, without the lock
    assert not state.enqueue(request(2)[0])
    assert state.wait_for_action() is SlotAction.STOP
    assert state.is_over


def test_removing_a_name_tells_waiting_from_running(state: SlotState, world: SimulatedPool) -> None:
    running, waiting = request(1)[0], request(2)[0]
    other = request(3, model=replace(running.model, name="two"))[0]
    state.enqueue(running)
    load(world, state)
    assert state.wait_for_action() is running
    state.enqueue(waiting)
    state.enqueue(other)
    error = NotFoundError("gone")

    removed = state.remove_name("one", error)

    assert (removed.waiting, removed.running) == ((waiting,), (running,))
    assert not removed.aborts_load
    assert running.is_cancelled
    assert running.cancel_error is error
    assert state.waiting_requests() == [other]


def test_a_name_with_a_new_digest_is_not_released(state: SlotState, world: SimulatedPool) -> None:
    pending, _ = request(pins=True)
    state.enqueue(pending)
    load(world, state)
    state.wait_for_action()

    assert not state.release_name("one", "sha256:other")
    assert state.release_name("one", "sha256:one")
    assert not state.has_pin


def test_a_rename_reaches_waiting_and_running_requests(
    state: SlotState, world: SimulatedPool
) -> None:
    running, waiting = request(1)[0], request(2)[0]
    state.enqueue(running)
    load(world, state)
    state.wait_for_action()
    state.enqueue(waiting)

    state.rename("one", "new", "sha256:new")

    assert {running.model.name, waiting.model.name, state.loading_name} == {"new"}
    assert running.model.digest == waiting.model.digest == "sha256:new"
    assert state.served_names()["new"].digest == "sha256:new"
    state.finish(running)
    assert state.served_names()["new"].num_open == 0


def test_all_attributes_are_private_or_read_only() -> None:
    state = SlotState(simulated_model("one", "a"), lambda: 0.0)

    public = {name for name in vars(state) if not name.startswith("_")}
    properties = {
        name: value for name, value in vars(SlotState).items() if isinstance(value, property)
    }

    assert public == {"key"}
    assert all(value.fset is None for value in properties.values())


def test_every_write_is_a_transition() -> None:
    """A change outside of `_transition` would wake nobody."""
    methods = methods_of(state_module, "SlotState")
    writers = {name for name, node in methods.items() if list(writes_of(node))}

    in_transitions = {
        write
        for node in methods.values()
        for block in transitions_of(node)
        for write in writes_of(block)
    }
    outside = {
        name for name in writers - WORKERS_OWN if set(writes_of(methods[name])) - in_transitions
    }

    assert len(writers) > 10
    assert outside == {"_transition"}


def test_outside_of_transitions_the_contents_are_only_read() -> None:
    state = methods_of(state_module, "SlotState").values()
    contents = methods_of(contents_module, "SlotContents")
    writers = {name for name, node in contents.items() if list(writes_of(node))}
    called = {
        node.func.attr
        for method in state
        for node in ast.walk(method)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        if ast.unparse(node.func.value) == "self._contents"
    }

    assert called == {"requests", "requests_for", "until_expiry_s"}
    assert not called & writers
    assert "_start_load" in writers


def test_no_other_module_writes_the_state_of_a_slot() -> None:
    names = set(vars(SlotState(simulated_model("one", "a"), lambda: 0.0)))
    foreign = {
        (path.name, node.attr)
        for path in FILES
        if path.name != "state.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in names - {"key", "_clock"}
        if not _is_self(node.value)
    }

    assert foreign == set()


def methods_of(module: ModuleType, name: str) -> dict[str, ast.FunctionDef]:
    """Return the methods of a class, by name."""
    tree = ast.parse(inspect.getsource(module))
    (owner,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
    return {node.name: node for node in owner.body if isinstance(node, ast.FunctionDef)}


def writes_of(node: ast.AST) -> Iterator[tuple[int, str]]:
    """Return the attributes of self and its contents that are assigned or deleted, with lines."""
    for child in ast.walk(node):
        if not isinstance(child, ast.Attribute | ast.Subscript):
            continue
        target = child.value if isinstance(child, ast.Subscript) else child
        is_written = isinstance(child.ctx, ast.Store | ast.Del)
        if is_written and isinstance(target, ast.Attribute) and _is_own(target.value):
            yield child.lineno, target.attr


def _is_own(node: ast.AST) -> bool:
    return ast.unparse(node) in {"self", "contents", "self._contents"}


def _is_self(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id == "self"


def transitions_of(node: ast.AST) -> Iterator[ast.With]:
    for child in ast.walk(node):
        if isinstance(child, ast.With) and "_transition" in ast.unparse(child.items[0]):
            yield child


def test_a_scheduler_finds_a_deadlock() -> None:
    scheduler = Scheduler(seed=0)
    condition = scheduler.threading.Condition()

    with pytest.raises(AssertionError, match="deadlock"), condition:
        condition.wait()
