"""Every command in every state of the models, against what must hold whatever came before.

A model may be absent, here, being pulled, loading, loaded, pinned, answering, queued, shared
by several names, replaced, renamed or removed, by a command or by another process, and the
server may be down. Hypothesis draws the order. After each step:

    exit codes        0, or 3 for a name that is not here
    ps and list       agree, but for models that are still answering
    runners           one process for each model that ps shows
    answers           go on, or end exactly once, with the error that the step calls for
    pins              stay, through renames and new recipes
    the store         has no file left of work that is over

``scripts/test --states=N`` takes N steps in an order of chance; without it there are few.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from localrun.names.parse import parse_name
from localrun.store.garbage import collect_garbage
from localrun.store.refs import remove_ref
from tests.e2e.world import BASES, World, open_world
from tests.waiting import wait_until

if TYPE_CHECKING:
    import threading
    from pathlib import Path

    from tests.cli.inside import Done
    from tests.e2e.world import Stream

NUM_STEPS = int(os.environ.get("LOCALRUN_TEST_STATES", "0"))
STEPS_OF_ONE = 15
FEW = 20
MAX_RUNNING = 5  # one, and four that the supervisor sends ahead
MAX_STREAMS = 7
NAMES = ("a", "b", "c")
STATE = st.sampled_from(["here", "loaded", "pinned", "answering", "loading"])
SELDOM = st.sampled_from([False, False, False, True])
NUMBER = st.sampled_from(range(8))  # 0 is any name, others one that is here
SPELLING = st.sampled_from(["{}", "{}:latest"])
LOOKS = ("prune", "du", "list", "verify", "version", "ps")
NOT_HERE = 3
GONE, STOPPED = frozenset({"model_not_found"}), frozenset({"load_failed"})
LEAVING = frozenset({"runner_died", "overloaded", "load_failed"})


@dataclass(frozen=True)
class Recipe:
    """What a name is made of; two with the same weights and context share a runner."""

    base: str
    num_ctx: int | None
    system: str

    @property
    def text(self) -> str:
        context = f"PARAMETER num_ctx {self.num_ctx}\n" if self.num_ctx else ""
        return f'FROM {self.base}\n{context}SYSTEM """{self.system}"""\n'

    @property
    def shared(self) -> tuple[str, int | None]:
        return (self.base, self.num_ctx)


RECIPE = st.builds(
    Recipe, st.sampled_from(BASES), st.sampled_from([None, 512]), st.sampled_from(["x", "y"])
)


@dataclass
class Open:
    """An answer under way."""

    stream: Stream
    name: str
    recipe: Recipe | None
    waits_for_load: bool = False
    codes: frozenset[str] = field(default=frozenset())  # of the error that it is to end by


class States(RuleBasedStateMachine):
    """The model: which names are here, what they mean, who is answered, what is pinned."""

    world: ClassVar[World]
    seen: ClassVar[Counter[str]] = Counter()  # commands, by the states that they met
    num_steps: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self.here: dict[str, Recipe] = {}
        self.open: list[Open] = []
        self.pins: set[str] = set()
        self.pulling: threading.Thread | None = None

    # what has happened

    def run(self, *words: str) -> Done:
        done = self.world.run(*words)
        assert "Traceback" not in done.stderr
        return done

    def note(self, command: str, *names: str) -> None:
        """Count a step by the states of the models that it is about."""
        self.seen[f"{command:8} {' -> '.join(map(self.state, names))}"] += 1

    def state(self, name: str) -> str:
        if not self.world.is_up:
            return "down" if name in self.here else "down, absent"
        calls = [one for one in self.open if one.name == name and not one.codes]
        recipe = self.here.get(name)
        words = [
            "" if recipe else "absent",
            "loading" if any(one.waits_for_load for one in calls) else "",
            "answering" if any(one.stream.has_begun for one in calls) else "",
            "queued" if any(not one.stream.has_begun for one in calls) else "",
            "pinned" if name in self.pins else "",
            "held" if recipe and self.is_ready(recipe) else "",
        ]
        return "+".join(filter(None, words)) or "here"

    def pick(self, number: int) -> str:
        """Return a name, most often of a model that is here."""
        names = sorted(self.here) if number and self.here else NAMES
        return names[number % len(names)]

    def expect(self, done: Done, *names: str) -> bool:
        """Check the exit code of a command that needs names; return whether they are here."""
        is_here = all(name in self.here for name in names)
        assert done.code == (0 if is_here else NOT_HERE), done
        return is_here

    def end(self, codes: frozenset[str], *, name: str | None = None, loading: bool = False) -> None:
        """Let open answers end by an error: all, those of a name, those that wait for a load."""
        for one in self.open:
            if (name is None or one.name == name) and (one.waits_for_load or not loading):
                one.codes = one.codes or codes

    def is_ready(self, recipe: Recipe) -> bool:
        """Return whether a request for a recipe is sent to a runner at once."""
        states = self.world.pool._slot_states() if self.world.pool else []
        ready = {(state.key.weights, state.key.num_ctx) for state in states if state.loaded}
        return (self.weights[recipe.base], recipe.num_ctx) in ready

    def num_running(self, recipe: Recipe) -> int:
        return sum(
            one.recipe is not None and one.recipe.shared == recipe.shared for one in self.open
        )

    def can_answer(self, name: str) -> bool:
        """Return whether a command that asks a model has an answer soon."""
        recipe = self.here.get(name)
        if recipe is None:
            return True
        has_room = self.num_running(recipe) < MAX_RUNNING
        return has_room and (not self.world.is_held or self.is_ready(recipe))

    def has_gone(self, name: str) -> None:
        self.here.pop(name, None)
        self.pins.discard(name)

    # the rules

    @initialize(states=st.lists(st.tuples(RECIPE, STATE), min_size=1, max_size=3))
    def begin(self, states: list[tuple[Recipe, str]]) -> None:
        find = self.world.workspace.models.find_model
        self.weights = {base: find(base).weights for base in BASES}
        if any(state != "here" for _, state in states):
            self.start_the_server()
        else:  # as any other beginning with these states: hypothesis goes by that
            self.world.stop()
        for name, (recipe, state) in zip(NAMES, states, strict=False):
            self.create(name=name, recipe=recipe)
            if state in {"loaded", "pinned"}:
                self.load_named(name, pins=state == "pinned")
            elif state == "loading":
                self.world.hold_loads()
            if state in {"answering", "loading"}:
                self.ask_once(name)

    @precondition(lambda self: not self.world.is_up)
    @rule()
    def start_the_server(self) -> None:
        if not self.world.is_up:
            self.world.start()

    @precondition(lambda self: self.world.is_up)
    @rule(is_meant=SELDOM)
    def stop_the_server(self, *, is_meant: bool) -> None:
        if not is_meant:
            return
        done = self.run("stop", "--server")
        self.world.settled_stop()

        assert done.code == 0, done
        self.end(LEAVING)
        self.pins.clear()

    @rule(name=st.sampled_from(NAMES), recipe=RECIPE)
    def create(self, name: str, recipe: Recipe) -> None:
        self.note("create", name)
        path = self.world.folder / "Modelfile"
        path.write_text(recipe.text)

        done = self.run("create", name, "-f", str(path))

        assert done.code == 0, done
        self.here[name] = recipe

    @rule(number=NUMBER, new=st.sampled_from(NAMES), by_api=st.booleans())
    def copy(self, number: int, new: str, *, by_api: bool) -> None:
        source = self.pick(number)
        self.note("cp", source, new)
        if by_api and self.world.is_up:
            body = {"source": source, "destination": new}
            status = self.world.call("POST", "/api/copy", body)
            assert status == (200 if source in self.here else 404)
        else:
            self.expect(self.run("cp", source, new), source)
        if source in self.here:
            self.here[new] = self.here[source]

    @rule(number=NUMBER, new=st.sampled_from(NAMES))
    def move(self, number: int, new: str) -> None:
        source = self.pick(number)
        self.note("mv", source, new)
        runners, loaded = self.world.runners(), self.current_rows()

        done = self.run("mv", source, new)

        if not self.expect(done, source) or source == new:
            return
        self.here[new] = self.here.pop(source)
        for one in self.open:
            one.name = new if one.name == source else one.name
        if source in self.pins:
            self.pins = self.pins - {source} | {new}
        if source in loaded:
            assert new in self.current_rows(), "the model was not carried along"
            kept = {key: pid for key, pid in self.world.runners().items() if key in runners}
            shared = self.here[new].shared
            for key, pid in kept.items():
                if (key.weights, key.num_ctx) == (self.weights[shared[0]], shared[1]):
                    assert runners[key] == pid, "the model was loaded again"

    @rule(number=NUMBER, spelling=SPELLING, by_api=st.booleans())
    def remove(self, number: int, spelling: str, *, by_api: bool) -> None:
        name = self.pick(number)
        self.note("rm", name)
        if by_api and self.world.is_up:
            status = self.world.call("DELETE", "/api/delete", {"model": spelling.format(name)})
            assert status == (200 if name in self.here else 404)
        else:
            self.expect(self.run("rm", spelling.format(name)), name)
        if name in self.here:
            self.end(GONE, name=name)
            self.has_gone(name)
            assert not self.world.is_up or name not in self.rows(), "rm left it loaded"

    @rule(number=NUMBER)
    def remove_by_another_process(self, number: int) -> None:
        name = self.pick(number)
        self.note("vanish", name)
        store = self.world.workspace.store
        remove_ref(store.layout, parse_name(name))
        collect_garbage(store)
        self.has_gone(name)

    @precondition(lambda self: self.world.is_up and len(self.open) < MAX_STREAMS)
    @rule(number=NUMBER, count=st.integers(1, 3))
    def ask(self, number: int, count: int) -> None:
        name = self.pick(number)
        for _ in range(count):
            self.ask_once(name)
            self.answers_go_on_or_end_once()

    def ask_once(self, name: str) -> None:
        self.note("ask", name)
        recipe = self.here.get(name)
        if recipe is None:
            self.open.append(Open(self.world.ask(name), name, None, codes=GONE))
            return
        waits = self.world.is_held and not self.is_ready(recipe)
        is_queued = self.num_running(recipe) >= MAX_RUNNING
        pool = self.world.pool
        num_waiting = pool.num_waiting if pool else 0

        stream = self.world.ask(name)

        self.open.append(Open(stream, name, recipe, waits_for_load=waits))
        if waits or is_queued:
            wait_until(lambda: pool and pool.num_waiting > num_waiting, "the request to be queued")
        else:
            wait_until(lambda: stream.has_begun, "the answer")

    @precondition(lambda self: any(not one.codes for one in self.open))
    @rule(number=st.integers(0, MAX_STREAMS))
    def leave(self, number: int) -> None:
        candidates = [one for one in self.open if not one.codes]
        one = candidates[number % len(candidates)]
        one.stream.leave()

        assert len(one.stream.ends) <= 1
        self.open.remove(one)

    @precondition(lambda self: not self.world.is_held)
    @rule(is_meant=SELDOM)
    def let_loads_last(self, *, is_meant: bool) -> None:
        if is_meant:
            self.world.hold_loads()

    @precondition(lambda self: self.world.is_held)
    @rule()
    def let_loads_end(self) -> None:
        self.world.release_loads()
        for one in self.open:
            if one.waits_for_load and not one.codes:
                same = [it for it in self.open if it.recipe and one.recipe and not it.codes]
                mine = [it for it in same if it.recipe.shared == one.recipe.shared]  # type: ignore[union-attr]
                wait_until(lambda them=mine: any(it.stream.has_begun for it in them), "a load")  # type: ignore[misc]
            one.waits_for_load = False

    @rule(number=NUMBER)
    def ask_by_a_command(self, number: int) -> None:
        name = self.pick(number)
        if self.can_answer(name):
            self.note("run", name)
            self.expect(self.run("run", name, "say hi"), name)

    @rule(number=NUMBER, pins=st.booleans())
    def load(self, number: int, *, pins: bool) -> None:
        self.load_named(self.pick(number), pins=pins)

    def load_named(self, name: str, *, pins: bool) -> None:
        if self.can_answer(name):
            self.note("load", name)
            done = self.run("load", name, *(["--pin"] if pins else []))
            if self.expect(done, name) and pins:
                self.pins.add(name)

    @rule(number=NUMBER, spelling=SPELLING)
    def stop(self, number: int, spelling: str) -> None:
        name = self.pick(number)
        self.note("stop", name)
        is_used = any(one.name == name and not one.codes for one in self.open)

        done = self.run("stop", spelling.format(name))

        is_known = name in self.here or is_used
        assert done.code == (0 if is_known else NOT_HERE), done
        self.end(STOPPED, name=name, loading=True)
        self.pins.discard(name)

    @rule()
    def stop_all(self) -> None:
        assert self.run("stop", "--all").code == 0
        self.end(STOPPED, loading=True)
        self.pins.clear()

    @rule(number=NUMBER, command=st.sampled_from(["why", "show", *LOOKS]))
    def look(self, number: int, command: str) -> None:
        name = self.pick(number)
        self.note("look", name)
        if command == "why":
            is_loaded = self.rows().get(name) in {"ready", "busy", "draining"}
            assert self.run("why", name).code == (0 if is_loaded else NOT_HERE)
        elif command == "show":
            self.expect(self.run("show", name), name)
        else:
            assert self.run(command).code == 0

    @rule(command=st.sampled_from(["show", "rm", "stop", "cp", "end"]))
    def pull(self, command: str) -> None:
        name = f"{self.world.web.url}/pulled.gguf"
        if self.pulling is None:
            self.world.is_pull_held.clear()
            self.pulling = self.world.pull("pulled")
        elif command == "end":
            self.finish_pull()
            assert name in self.world.models()
            assert self.run("rm", name).code == 0
        else:
            words = [name, *(["c"] if command == "cp" else [])]
            assert self.run(command, *words).code == NOT_HERE

    # what must hold

    @invariant()
    def is_counted(self) -> None:
        States.num_steps += 1

    @invariant()
    def answers_go_on_or_end_once(self) -> None:
        for one in list(self.open):
            if one.codes:
                one.stream.wait()
                ends = one.stream.ends
                assert len(ends) == 1, one.stream.frames
                assert not one.stream.is_cut
                assert ends[0].get("code") in one.codes, ends
                self.open.remove(one)
            else:
                assert not one.stream.is_over, one.stream.frames

    @invariant()
    def what_is_loaded_is_here(self) -> None:
        if not self.world.is_up:
            return
        wait_until(lambda: self.strange_rows() == [], "ps and list to agree")
        wait_until(self.has_a_runner_for_each_row, "the runners of removed models to end")
        if not self.world.is_held:
            wait_until(lambda: self.pins <= self.pinned(), f"the pins of {self.pins}")

    @invariant()
    def no_file_is_left(self) -> None:
        assert self.world.models().keys() == {f"{name}:latest" for name in (*BASES, *self.here)}
        if self.pulling is None:
            layout = self.world.workspace.store.layout
            assert [*layout.tmp.iterdir(), *layout.leases.iterdir()] == []

    def teardown(self) -> None:
        self.world.release_loads()
        self.finish_pull()
        for one in self.open:
            one.stream.leave()
        for name in [*self.here, f"{self.world.web.url}/pulled.gguf"]:
            self.world.run("rm", name)
        self.world.run("stop", "--all")
        wait_until(lambda: self.world.runners() == {}, "all runners to end")

    # looks

    def finish_pull(self) -> None:
        self.world.is_pull_held.set()
        if self.pulling is not None:
            self.pulling.join()
            self.pulling = None

    def rows(self) -> dict[str, str]:
        """Return the states of what is loaded by short names."""
        return {row["name"].removesuffix(":latest"): row["state"] for row in self.world.loaded()}

    def current_rows(self) -> set[str]:
        """Return the names that are loaded as they are here now."""
        models = self.world.models()
        return {
            row["name"].removesuffix(":latest")
            for row in self.world.loaded()
            if row["size_bytes"] and models.get(row["name"]) == row["digest"]
        }

    def strange_rows(self) -> list[str]:
        """Return what is loaded and not here, unless it is still answering."""
        models = self.world.models()
        return [
            row["name"]
            for row in self.world.loaded()
            if models.get(row["name"]) != row["digest"] and not row["requests"]
        ]

    def pinned(self) -> set[str]:
        rows = self.world.loaded()
        return {row["name"].removesuffix(":latest") for row in rows if row["pinned"]}

    def has_a_runner_for_each_row(self) -> bool:
        pool = self.world.pool
        used = [state for state in pool._slot_states() if state.names()] if pool else []
        return self.world.runners().keys() <= {state.key for state in used}


SETTINGS = settings(
    max_examples=max(1, NUM_STEPS // STEPS_OF_ONE) if NUM_STEPS else FEW,
    stateful_step_count=STEPS_OF_ONE,
    derandomize=not NUM_STEPS,
    deadline=None,
    database=None,
    phases=[Phase.generate, Phase.shrink] if NUM_STEPS else [Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.timeout(max(300, 2 * NUM_STEPS))
def test_every_command_in_every_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_world(tmp_path, monkeypatch) as world:
        States.world = world
        try:
            run_state_machine_as_test(States, settings=SETTINGS)
        finally:
            if NUM_STEPS:
                lines = [f"{count:6} {what}" for what, count in table()]
                sys.stderr.write("\n".join([*lines, f"{States.num_steps:6} steps", ""]))


def table() -> list[tuple[str, int]]:
    """Return how often a command met a state."""
    return sorted(States.seen.items())
