"""Models whose names go or change while they are loaded, loading or answering."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from localrun.names.parse import parse_name
from localrun.server.core import loaded_names as names
from localrun.server.core.loaded_names import LoadedNames
from localrun.store.garbage import collect_garbage
from localrun.store.refs import remove_ref
from localrun.supervisor.slots import slot
from tests.e2e.world import World, open_world
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.world import Stream

PIRATE = Path(__file__).parents[2] / "modelfiles" / "pirate.Modelfile"

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Return an installation with a server, and ``mine``, which shares its weights with ``one``."""
    with open_world(tmp_path, monkeypatch) as found:
        found.start()
        found.run("cp", "one", "mine")
        yield found


def answering(world: World, model: str, prompt: str = "hang") -> Stream:
    stream = world.ask(model, prompt)
    wait_until(lambda: stream.has_begun)
    return stream


def loading(world: World, model: str) -> Stream:
    world.hold_loads()
    stream = world.ask(model)
    wait_until(lambda: any(row["state"] == "loading" for row in world.loaded()))
    return stream


def codes(stream: Stream) -> list[str]:
    """Return the errors by which an answer ended."""
    stream.wait()
    return [frame["code"] for frame in stream.ends]


def loaded(world: World) -> list[str]:
    return [row["name"] for row in world.loaded()]


def create(world: World, model: str, recipe: str) -> None:
    path = world.folder / "Modelfile"
    path.write_text(recipe)
    assert world.run("create", model, "-f", str(path)).code == 0


class CountingNames(LoadedNames):
    """Counts its checks of the store."""

    num_checks = 0

    def settle(self) -> None:
        super().settle()
        self.num_checks += 1


def remove_elsewhere(world: World, model: str) -> None:
    """Remove a model as a process does that knows of no server."""
    store = world.workspace.store
    remove_ref(store.layout, parse_name(model))
    collect_garbage(store)


def system_of(world: World, model: str) -> str:
    """Return the system prompt that a runner gets with a request."""
    stream = world.ask(model, "echo")
    stream.wait()
    request = json.loads("".join(frame["message"]["content"] for frame in stream.frames))
    content: str = request["messages"][0]["content"]
    return content


@pytest.mark.parametrize("by_api", [False, True])
def test_rm_frees_the_memory_of_a_loaded_model(world: World, *, by_api: bool) -> None:
    world.run("run", "mine", "say hi")

    if by_api:
        assert world.call("DELETE", "/api/delete", {"model": "mine"}) == 200
    else:
        done = world.run("rm", "mine")
        assert (done.code, done.stderr) == (0, "")

    assert world.runners() == {}
    assert loaded(world) == []


def test_rm_ends_an_answer_once_and_with_the_reason(world: World) -> None:
    stream = answering(world, "mine")

    done = world.run("rm", "MINE:latest")

    assert done.code == 0
    assert world.runners() == {}
    assert codes(stream) == ["model_not_found"]
    assert stream.ends[0]["error"] == "model 'mine:latest' was removed"


def test_rm_leaves_the_answers_of_a_model_that_shares_the_weights(world: World) -> None:
    other, stream = answering(world, "one"), answering(world, "mine")

    world.run("rm", "mine")

    assert codes(stream) == ["model_not_found"]
    assert not other.is_over
    assert loaded(world) == ["one:latest"]
    other.leave()


def test_rm_breaks_a_load_off(world: World) -> None:
    streams = [loading(world, "mine"), world.ask("mine")]
    wait_until(lambda: world.loaded()[0]["waiting"] == 2)

    done = world.run("rm", "mine")

    assert done.code == 0
    assert [codes(stream) for stream in streams] == [["model_not_found"]] * 2
    wait_until(lambda: world.runners() == {})
    assert loaded(world) == []


def test_rm_does_not_wait_for_a_runner_that_does_not_obey(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slot, "GRACE_S", 0.1)
    stream = world.ask("mine", "deaf")
    wait_until(lambda: world.loaded() and world.loaded()[0]["running"])

    assert world.run("rm", "mine").code == 0

    assert codes(stream) == ["model_not_found"]
    assert world.runners() == {}


def test_rm_of_an_adapter_ends_what_is_loaded_with_it(world: World) -> None:
    world.run("create", "pirate", "-f", str(PIRATE))
    stream = answering(world, "guide+pirate@0.5")

    world.run("rm", "pirate")

    assert codes(stream) == ["model_not_found"]
    assert loaded(world) == []


def test_a_model_that_failed_is_forgotten_with_its_name(world: World) -> None:
    for _ in range(3):
        world.ask("mine", "die").wait()
    before = [row["state"] for row in world.loaded()]

    world.run("rm", "mine")

    assert before == ["failed"]
    assert world.loaded() == []


def test_mv_carries_a_loaded_model_along(world: World) -> None:
    world.run("load", "mine", "--pin")
    stream = answering(world, "mine")
    (runner,) = world.runners().values()

    done = world.run("mv", "mine", "yours")

    (row,) = world.loaded()
    assert done.code == 0
    assert (row["name"], row["pinned"], row["running"]) == ("yours:latest", True, 1)
    assert list(world.runners().values()) == [runner]
    assert world.run("why", "yours").code == 0
    stream.leave()
    assert world.run("stop", "yours").stderr == "unloaded yours:latest\n"
    wait_until(lambda: world.runners() == {})  # its request ends when the server sees the leave


def test_mv_carries_what_waits_for_a_load_along(world: World) -> None:
    stream = loading(world, "mine")

    world.run("mv", "mine", "yours")
    during = loaded(world)
    world.release_loads()
    wait_until(lambda: stream.has_begun)

    assert during == ["yours:latest"]
    assert loaded(world) == ["yours:latest"]
    assert world.run("rm", "yours").code == 0
    assert codes(stream) == ["model_not_found"]


def test_mv_of_an_adapter_renames_what_is_loaded_with_it(world: World) -> None:
    world.run("create", "pirate", "-f", str(PIRATE))
    stream = answering(world, "guide+pirate@0.5")

    world.run("mv", "pirate", "corsair")

    assert loaded(world) == ["guide:latest+corsair:latest@0.5"]
    assert not stream.is_over
    stream.leave()


def test_ps_and_stop_know_a_name_that_only_waits_for_its_turn(world: World) -> None:
    others = [answering(world, "one") for _ in range(5)]
    queued = world.ask("mine")
    wait_until(lambda: world.pool and world.pool.num_waiting == 1)

    rows = {row["name"]: (row["state"], row["waiting"]) for row in world.loaded()}

    assert rows == {"one:latest": ("busy", 0), "mine:latest": ("starting", 1)}
    assert world.run("rm", "mine").code == 0
    assert codes(queued) == ["model_not_found"]
    for other in others:
        other.leave()


def test_mv_over_a_loaded_model_lets_that_one_go(world: World) -> None:
    for model in ("mine", "two"):
        world.run("load", model)
    old = world.runners()

    world.run("mv", "mine", "two")

    wait_until(lambda: len(world.runners()) == 1)
    assert loaded(world) == ["two:latest"]
    assert set(world.runners().values()) < set(old.values())


@pytest.mark.parametrize("change", ["PARAMETER num_ctx 512", "PARAMETER temperature 0.5"])
def test_create_over_a_loaded_model_means_the_new_recipe_from_the_next_request_on(
    world: World, change: str
) -> None:
    create(world, "mine", 'FROM one\nSYSTEM """before"""')
    stream, before = answering(world, "mine"), system_of(world, "mine")

    create(world, "mine", f'FROM one\n{change}\nSYSTEM """after"""')

    assert (before, system_of(world, "mine")) == ("before", "after")
    assert not stream.is_over
    stream.leave()
    assert len(stream.frames) == 1
    wait_until(lambda: len(world.loaded()) == len(world.runners()) == 1)
    (row,) = world.loaded()
    assert row["digest"] == world.models()["mine:latest"]


@pytest.mark.parametrize("by_api", [False, True])
def test_cp_over_a_loaded_model_lets_the_old_one_go(world: World, *, by_api: bool) -> None:
    world.run("load", "mine")

    if by_api:
        world.call("POST", "/api/copy", {"source": "two", "destination": "mine"})
    else:
        world.run("cp", "two", "mine")

    assert loaded(world) == []
    wait_until(lambda: world.runners() == {})
    assert world.run("run", "mine", "say hi").stdout == "hi\n"


def test_create_by_the_api_lets_the_old_one_go(world: World) -> None:
    world.run("load", "mine")

    body = {"model": "mine", "from": "two", "system": "x", "stream": False}
    assert world.call("POST", "/api/create", body) == 200

    wait_until(lambda: world.runners() == {})


def test_a_pin_goes_over_to_the_new_recipe(world: World) -> None:
    world.run("load", "mine", "--pin")

    world.run("cp", "two", "mine")
    world.run("ps")

    wait_until(lambda: [row["pinned"] for row in world.loaded()] == [True])
    (row,) = world.loaded()
    assert (row["name"], row["digest"]) == ("mine:latest", world.models()["two:latest"])
    wait_until(lambda: len(world.runners()) == 1)  # the old model leaves meanwhile


def test_what_another_process_removed_is_answered_to_its_end(world: World) -> None:
    stream = answering(world, "mine")

    remove_elsewhere(world, "mine")

    (row,) = world.loaded()
    assert (row["name"], row["running"]) == ("mine:latest", 1)
    assert world.run("why", "mine").code == 0
    assert world.run("run", "mine", "hi").code == 3
    assert world.run("stop", "mine").stderr == "unloaded mine:latest\n"
    assert not stream.is_over
    stream.leave()
    wait_until(lambda: world.runners() == {})
    assert world.run("stop", "mine").code == 3


def test_the_server_notices_by_itself_what_another_process_removed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "LOOK_S", 0.01)
    assert world.pool is not None
    watching = CountingNames(world.pool, world.workspace.models)
    watching.start_watch()
    world.run("load", "mine", "--pin")
    wait_until(lambda: watching.num_checks >= 3)
    before = len(world.runners())
    remove_elsewhere(world, "mine")

    assert before == 1
    wait_until(lambda: world.runners() == {})


def test_a_store_that_cannot_be_read_takes_no_model_out_of_memory(world: World) -> None:
    world.run("load", "mine")
    path = world.workspace.store.layout.ref(parse_name("mine").key)
    path.write_text("{")

    assert loaded(world) == ["mine:latest"]
