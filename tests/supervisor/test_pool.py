from __future__ import annotations

import errno
import os
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localrun.engine.params import FinishReason, LoadOptions
from localrun.errors import LoadError, OverloadedError, UsageError
from localrun.runner.messages import Failed, Finished
from localrun.supervisor import runner
from localrun.supervisor.draft_choice import recipe_draft
from localrun.supervisor.heartbeat import SILENCE_S, Heartbeat
from localrun.supervisor.model import KeepAlive, RequestOptions
from localrun.supervisor.pool import RunnerPool
from localrun.supervisor.slots.contents import AHEAD
from localrun.supervisor.status import ModelState
from tests.fakes.requests import text_request
from tests.fakes.starting import Collector, fake_model, num_open, start_fake
from tests.unix_calls import make_pipe
from tests.waiting import HANG_S
from tests.waiting import wait_until as wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from localrun.runner.messages import Event
    from localrun.supervisor.draft_choice import DraftChoice
    from localrun.supervisor.model import RunnerModel


TIMEOUT_SCALE = 0.01  # of the health monitor, which checks so much more often
Heartbeats = list[Heartbeat]


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pool(clock: Clock) -> Iterator[RunnerPool]:
    found = RunnerPool(keep_alive_s=300, start=start_fake, clock=clock)
    yield found
    found.close()


@pytest.fixture
def slow_model(tmp_path: Path) -> RunnerModel:
    """Return a model that is loaded when somebody has written to its file."""
    path = tmp_path / "waits.gguf"
    make_pipe(path)
    return replace(fake_model("slow:latest"), shards=(path,))


def wait_for_state(pool: RunnerPool, state: ModelState) -> None:
    wait_for(lambda: state in {row.state for row in pool.states()})


def wait_until_half_loaded(pool: RunnerPool) -> None:
    """Wait until the fake runner reads the file of a slow model."""
    wait_for(lambda: any(row.progress == 0.5 for row in pool.states()))


def ask(pool: RunnerPool, prompt: str, **options: Any) -> Collector:
    sink = Collector()
    wanted = RequestOptions(**options)
    pool.submit(fake_model(), text_request(prompt), sink, wanted)
    return sink


def test_an_answer_comes_with_exactly_one_end(pool: RunnerPool) -> None:
    sink = ask(pool, "say one two three")

    end = sink.until_end()

    assert sink.text == "one two three"
    assert isinstance(end, Finished)
    assert end.reason is FinishReason.STOP
    assert sink.events.empty()


def test_death_in_the_middle_is_an_error_and_the_next_request_works(pool: RunnerPool) -> None:
    waiting = ask(pool, "hang")
    waiting.until_text()
    dying = ask(pool, "die")

    ends = [dying.until_end(), waiting.until_end()]
    again = ask(pool, "say back")

    assert all(isinstance(end, Failed) and end.code == "runner_died" for end in ends)
    assert "SIGKILL" in ends[0].message if isinstance(ends[0], Failed) else False
    assert isinstance(again.until_end(), Finished)
    assert again.text == "back"


def test_a_cancel_ends_a_request_once(pool: RunnerPool) -> None:
    sink = Collector()
    handle = pool.submit(fake_model(), text_request("hang"), sink)
    sink.until_text()

    handle.cancel()
    end = sink.until_end()
    handle.cancel()

    assert isinstance(end, Finished)
    assert end.reason is FinishReason.CANCELLED
    assert num_open(pool) == 0


def test_many_at_once_each_get_their_own_answer(pool: RunnerPool) -> None:
    sinks = [Collector() for _ in range(16)]

    def submit(number: int) -> None:
        pool.submit(fake_model(), text_request(f"say n {number}"), sinks[number])

    threads = [threading.Thread(target=submit, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for sink in sinks:
        sink.until_end()
    for thread in threads:
        thread.join()

    assert [sink.text for sink in sinks] == [f"n {number}" for number in range(16)]
    assert len(pool.running()) == 1


def test_a_model_that_does_not_load_says_why(pool: RunnerPool) -> None:
    request = text_request("say x")

    broken, dying = Collector(), Collector()
    pool.submit(fake_model(file="broken.gguf"), request, broken)
    pool.submit(fake_model("other:latest", "dies.gguf"), request, dying)

    ends = [broken.until_end(), dying.until_end()]
    assert all(isinstance(end, Failed) and end.code == "load_failed" for end in ends)
    assert "not a model" in str(ends[0])
    assert re.search(r"SIGABRT.*assertion failed", str(ends[1]))
    assert num_open(pool) == 0


def test_an_unused_model_is_unloaded_when_its_time_is_over(pool: RunnerPool, clock: Clock) -> None:
    ask(pool, "say x").until_end()
    clock.now += 299
    pool.settle()
    before = len(pool.running())

    clock.now += 2
    pool.settle()

    assert (before, len(pool.running())) == (1, 0)


def test_keep_alive_zero_unloads_after_the_answer_and_none_keeps_for_ever(
    pool: RunnerPool, clock: Clock
) -> None:
    ask(pool, "say x", keep_alive=KeepAlive(None)).until_end()
    clock.now += 10**9
    pool.settle()
    kept = [model.until for model in pool.running()]

    ask(pool, "say x", keep_alive=KeepAlive(0)).until_end()
    pool.settle()

    assert kept == [None]
    assert pool.running() == []


def test_an_unused_model_is_unloaded_without_a_look() -> None:
    pool = RunnerPool(keep_alive_s=0.05, start=start_fake)
    pool.load(fake_model())

    wait_for(lambda: not pool.names.loaded())
    pool.close()


def test_a_busy_model_outlives_its_time(pool: RunnerPool, clock: Clock) -> None:
    sink = Collector()
    handle = pool.submit(
        fake_model(),
        text_request("hang"),
        sink,
        RequestOptions(keep_alive=KeepAlive(1)),
    )
    sink.until_text()
    clock.now += 100
    pool.settle()
    pool.unload("fake:latest")
    busy = len(pool.running())

    handle.cancel()
    sink.until_end()
    pool.unload("fake:latest")

    assert busy == 1
    assert pool.running() == []


def test_a_larger_context_reloads_an_idle_model_and_a_smaller_one_does_not(
    pool: RunnerPool,
) -> None:
    sizes = []
    for wanted in (1024, 4096, 512):
        ask(pool, "say x", num_ctx=wanted).until_end()
        sizes.append(pool.running()[0].num_ctx)

    assert sizes == [1024, 4096, 4096]


DRAFT, OTHER_DRAFT = (Path("/nowhere/draft.gguf"),), (Path("/nowhere/other.gguf"),)
BROKEN_DRAFT = Path("/nowhere/broken-draft.gguf")
SILENT: dict[str, Any] = {}
NAMED: dict[str, Any] = {"draft": DRAFT, "draft_source": "request"}
OTHER: dict[str, Any] = {"draft": OTHER_DRAFT, "draft_source": "request"}
BY_RECIPE: dict[str, Any] = {"draft": DRAFT}
WITHOUT: dict[str, Any] = {"draft_rule": "none"}
AUTOMATIC: dict[str, Any] = {"draft_rule": "auto"}


def drafting(pool: RunnerPool) -> tuple[str, ...]:
    """Return the files of the loaded draft model."""
    (slot,) = pool._all_slots()
    loaded = slot.state.loaded
    return () if loaded is None else loaded.planned.load.draft_paths


@pytest.mark.parametrize(
    ("requests", "num_loads", "draft"),
    [
        ([NAMED, SILENT, NAMED, SILENT], 1, DRAFT),
        ([NAMED, WITHOUT, NAMED, AUTOMATIC], 1, DRAFT),
        ([NAMED, BY_RECIPE, NAMED], 1, DRAFT),
        ([SILENT, NAMED, SILENT, NAMED], 2, DRAFT),
        ([SILENT, BY_RECIPE, SILENT, BY_RECIPE, WITHOUT], 2, DRAFT),
        ([WITHOUT, SILENT, WITHOUT], 1, ()),
        ([WITHOUT, AUTOMATIC, WITHOUT, AUTOMATIC], 2, ()),
        ([OTHER, BY_RECIPE, OTHER], 1, OTHER_DRAFT),
        ([NAMED, OTHER], 2, OTHER_DRAFT),
    ],
)
def test_only_a_request_that_names_another_draft_model_loads_again(
    pool: RunnerPool, requests: list[dict[str, Any]], num_loads: int, draft: tuple[Path, ...]
) -> None:
    for changes in requests:
        pool.load(replace(fake_model(), **changes))

    assert pool.load_history()["fake:latest"].num_loads == num_loads
    assert drafting(pool) == tuple(map(str, draft))


def test_a_draft_model_that_is_not_used_is_not_loaded_for_again(clock: Clock) -> None:
    def refused(model: RunnerModel) -> DraftChoice:
        return recipe_draft(model).refused("no memory")

    pool = RunnerPool(keep_alive_s=300, start=start_fake, clock=clock, drafts=refused)
    for changes in (NAMED, SILENT, NAMED, BY_RECIPE):
        pool.load(replace(fake_model(), **changes))

    assert pool.load_history()["fake:latest"].num_loads == 1
    assert drafting(pool) == ()
    pool.close()


def test_a_recipe_with_another_draft_model_than_before_loads_it(pool: RunnerPool) -> None:
    pool.load(recipe("drafted", **BY_RECIPE))
    pool.load(recipe("also-drafted", draft=OTHER_DRAFT))
    before = drafting(pool)
    pool.names.rename("drafted", "renamed")

    pool.load(recipe("renamed", draft=OTHER_DRAFT))

    assert before == tuple(map(str, DRAFT))
    assert drafting(pool) == tuple(map(str, OTHER_DRAFT))


def test_a_busy_model_keeps_its_draft_model(pool: RunnerPool) -> None:
    busy = ask(pool, "hang")
    busy.until_text()
    sink = Collector()

    pool.submit(replace(fake_model(), **NAMED), text_request("say x"), sink)

    assert isinstance(sink.until_end(), Finished)
    assert drafting(pool) == ()


def test_a_draft_model_that_does_not_load_fails_only_those_who_name_it(
    pool: RunnerPool, slow_model: RunnerModel
) -> None:
    named, silent, pipe = Collector(), Collector(), slow_model.shards[0]
    pool.submit_load(replace(slow_model, draft=(BROKEN_DRAFT,), draft_source="request"), named)
    wait_until_half_loaded(pool)
    pool.submit_load(slow_model, silent)

    pipe.write_text("go on")
    failed = named.until_end()
    wait_until_half_loaded(pool)
    pipe.write_text("go on")

    assert isinstance(failed, Failed)
    assert isinstance(silent.until_end(), Finished)


def test_closing_ends_open_requests_with_an_error(clock: Clock) -> None:
    pool = RunnerPool(keep_alive_s=300, start=start_fake, clock=clock)
    sink = ask(pool, "hang")
    sink.until_text()

    pool.close()

    assert isinstance(sink.until_end(), Failed | Finished)
    assert pool.running() == []


def test_an_answer_that_ends_by_itself_is_not_ended_again_by_the_runners_death(
    pool: RunnerPool,
) -> None:
    done = ask(pool, "say x")
    done.until_end()
    dying = ask(pool, "die")
    dying.until_end()

    assert done.num_ends() == 1
    assert dying.num_ends() == 1


@given(st.lists(st.sampled_from(["say a b", "hang", "fail", "die", "garbage"]), max_size=12))
@settings(max_examples=10, deadline=None)
def test_any_mix_of_requests_and_crashes_gives_each_exactly_one_end(prompts: list[str]) -> None:
    pool = RunnerPool(keep_alive_s=300, start=start_fake)
    sinks = [Collector() for _ in prompts]

    with ThreadPoolExecutor() as threads:
        requests = [text_request(prompt) for prompt in prompts]
        handles = list(threads.map(lambda r, s: pool.submit(fake_model(), r, s), requests, sinks))
        list(threads.map(lambda handle: handle.cancel(), handles))
    pool.close()
    for sink in sinks:
        sink.until_end()

    assert [sink.num_ends() for sink in sinks] == [1] * len(prompts)


def test_without_open_files_left_a_load_fails_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = RunnerPool(keep_alive_s=300, start=start_fake)

    def refuse() -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patched:
        patched.setattr("localrun.supervisor.runner_process.socket.socketpair", refuse)
        failed = ask(pool, "say no").until_end()
    again = ask(pool, "say yes").until_end()
    pool.close()

    assert isinstance(failed, Failed)
    assert failed.code == "load_failed"
    assert "Too many open files" in failed.message
    assert isinstance(again, Finished)


def test_a_bug_of_a_slot_is_not_called_the_end_of_the_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool = RunnerPool(keep_alive_s=300, start=start_fake)

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("localrun.supervisor.loader.ModelLoader.load", fail)
    failed = ask(pool, "say no").until_end()
    pool.close()

    assert isinstance(failed, Failed)
    assert "bug" in failed.message


def test_requests_for_a_model_that_loads_wait_for_one_load(
    pool: RunnerPool, slow_model: RunnerModel
) -> None:
    sinks = [Collector() for _ in range(4)]
    requests = [text_request(f"say {number}") for number in range(4)]

    with ThreadPoolExecutor() as threads:
        handles = threads.map(lambda r, s: pool.submit(slow_model, r, s), requests, sinks)
        wait_until_half_loaded(pool)
        slow_model.shards[0].write_text("go")
        list(handles)
    for sink in sinks:
        sink.until_end()

    assert [sink.text for sink in sinks] == ["0", "1", "2", "3"]
    assert len(pool.running()) == 1


def test_a_model_that_loads_does_not_block_another(
    pool: RunnerPool, slow_model: RunnerModel
) -> None:
    pool.load(fake_model())
    with ThreadPoolExecutor() as threads:
        loading = threads.submit(pool.load, slow_model)
        wait_until_half_loaded(pool)

        other = ask(pool, "say x")
        end = other.until_end()
        was_loading = not loading.done()
        slow_model.shards[0].write_text("go")

    assert isinstance(end, Finished)
    assert was_loading


def test_closing_does_not_wait_for_a_load(clock: Clock, slow_model: RunnerModel) -> None:
    pool = RunnerPool(keep_alive_s=300, start=start_fake, clock=clock)
    with ThreadPoolExecutor() as threads:
        loading = threads.submit(pool.load, slow_model)
        wait_until_half_loaded(pool)
        with slow_model.shards[0].open("wb"):  # holds the load
            pool.close()

            with pytest.raises((LoadError, OverloadedError)):
                loading.result(HANG_S)

    with pytest.raises(OverloadedError):
        pool.load(fake_model())


def test_a_file_that_changed_is_another_model(pool: RunnerPool) -> None:
    pool.load(fake_model())
    pool.load(replace(fake_model(), digest="sha256:11"))

    assert [model.digest for model in pool.running()] == ["sha256:00", "sha256:11"]
    assert pool.unload("fake:latest")
    assert pool.running() == []


def test_short_memory_unloads_the_model_that_was_unused_longest(clock: Clock) -> None:
    found = RunnerPool(
        keep_alive_s=300,
        start=start_fake,
        clock=clock,
        free_bytes=lambda: free[len(found.running())],
    )
    free = [1000, 1000, 0, 0]  # by the number of loaded models: two are too many
    for name in ("first", "second", "third"):
        clock.now += 1
        found.load(fake_model(name))

    names = [model.name for model in found.running()]
    found.close()

    assert names == ["second", "third"]


def test_a_busy_model_is_not_unloaded_but_takes_no_more_until_another_had_room(
    clock: Clock,
) -> None:
    free = [1000, 0]  # by the number of loaded models: there is room for one
    found = RunnerPool(
        keep_alive_s=300,
        start=start_fake,
        clock=clock,
        free_bytes=lambda: free[len(found.running())],
    )
    busy, late, other = Collector(), Collector(), Collector()
    handle = found.submit(fake_model(), text_request("hang"), busy)
    busy.until_text()
    request = text_request("say x")
    found.submit(fake_model("other:latest"), request, other)
    clock.now += 100  # it has had its turn
    wait_for_state(found, ModelState.DRAINING)
    found.submit(fake_model(), request, late)
    rows = {row.name: (row.state, row.num_waiting) for row in found.states()}

    handle.cancel()
    other.until_end()
    ends = [late.until_end(), busy.until_end()]
    found.close()

    assert rows["fake:latest"] == (ModelState.DRAINING, 1)
    assert rows["other:latest"] == (ModelState.STARTING, 1)
    assert all(isinstance(end, Finished) for end in ends)
    assert (late.text, other.text) == ("x", "x")


def test_a_request_that_cannot_be_sent_is_refused_and_does_not_count(pool: RunnerPool) -> None:
    sink = Collector()
    request = text_request("half a pair: \ud800")

    with pytest.raises(UsageError, match="cannot be sent"):
        pool.submit(fake_model(), request, sink)

    assert sink.num_ends() == 0
    assert num_open(pool) == 0


@pytest.mark.parametrize(
    ("prompt", "cause"),
    [("die", "killed by SIGKILL"), ("complain", "SIGABRT: ggml: assertion failed")],
)
def test_a_death_tells_its_cause(pool: RunnerPool, prompt: str, cause: str) -> None:
    end = ask(pool, prompt).until_end()

    assert isinstance(end, Failed)
    assert end.message.endswith(cause)


def test_a_runner_that_talks_nonsense_is_ended(pool: RunnerPool) -> None:
    end = ask(pool, "garbage").until_end()

    assert isinstance(end, Failed)
    assert pool.running() == []


def recipe(name: str, **changes: Any) -> RunnerModel:
    """Return a model on the same weights as `fake_model`'s own."""
    return replace(fake_model(), name=name, **changes)


def test_names_on_the_same_weights_share_a_runner_and_its_memory(pool: RunnerPool) -> None:
    pool.load(recipe("guide"))
    pool.load(recipe("pirate", chat_template="other"))
    pool.load(recipe("guide"))

    rows = {row.name: row for row in pool.running()}
    assert (rows["guide"].shared_with, rows["pirate"].shared_with) == (None, "guide")
    assert {name: entry.num_loads for name, entry in pool.load_history().items()} == {"guide": 1}


def test_equal_projectors_in_two_places_share_a_runner(pool: RunnerPool) -> None:
    for name, digest in (("guide", "sha256:a"), ("recipe", "sha256:a"), ("other", "sha256:b")):
        pool.load(recipe(name, projector=Path(f"/nowhere/{name}"), projector_digest=digest))

    rows = {row.name: row.shared_with for row in pool.running()}
    assert rows == {"guide": None, "recipe": "guide", "other": None}


@pytest.mark.parametrize(
    "changes", [{"num_ctx": 512}, {"options": LoadOptions(num_batch=64)}, {"num_gpu_layers": 0}]
)
def test_other_load_options_are_another_runner(pool: RunnerPool, changes: dict[str, Any]) -> None:
    pool.load(recipe("guide"))
    pool.load(recipe("other", **changes))

    assert [row.shared_with for row in pool.running()] == [None, None]


def test_a_runner_ends_with_the_last_name_that_holds_it(pool: RunnerPool) -> None:
    for name in ("guide", "pirate"):
        pool.load(recipe(name))

    assert pool.unload("guide")
    after_one = [(row.name, row.shared_with) for row in pool.running()]
    again = pool.unload("guide")
    assert pool.unload("pirate")

    assert after_one == [("pirate", None)]
    assert not again
    assert pool.running() == []


def test_each_name_has_its_own_keep_alive(pool: RunnerPool, clock: Clock) -> None:
    pool.load(recipe("short"), RequestOptions(keep_alive=KeepAlive(10)))
    pool.load(recipe("long"), RequestOptions(keep_alive=KeepAlive(100)))

    left = []
    for seconds in (11, 90):
        clock.now += seconds
        pool.settle()
        left.append([row.name for row in pool.running()])

    assert left == [["long"], []]


def test_a_name_that_is_told_to_go_leaves_when_its_requests_have_ended(pool: RunnerPool) -> None:
    sink = Collector()
    busy = pool.submit(recipe("busy"), text_request("hang"), sink)
    sink.until_text()
    pool.load(recipe("idle"))
    pool.unload("busy")
    while_busy = [row.name for row in pool.running()]

    busy.cancel()
    sink.until_end()
    pool.settle()

    assert while_busy == ["busy", "idle"]
    assert [row.name for row in pool.running()] == ["idle"]


def test_a_crash_is_counted_once_and_takes_all_names_along(pool: RunnerPool) -> None:
    pool.load(recipe("idle"))
    sink = Collector()
    pool.submit(recipe("dying"), text_request("die"), sink)
    sink.until_end()
    pool.load(recipe("back"))

    assert [row.name for row in pool.running() if row.name != "dying"] == ["back"]
    assert sum(entry.num_crashes for entry in pool.load_history().values()) == 1


def test_a_load_that_nobody_waits_for_any_more_is_broken_off(
    pool: RunnerPool, slow_model: RunnerModel
) -> None:
    sinks = [Collector(), Collector()]
    request = text_request("say x")
    handles = [pool.submit(slow_model, request, sink) for sink in sinks]
    wait_until_half_loaded(pool)

    handles[0].cancel()
    during = [row.state for row in pool.states()]
    handles[1].cancel()
    ends = [sink.until_end() for sink in sinks]

    wait_for(lambda: pool.states() == [])
    assert during == [ModelState.LOADING]
    assert all(isinstance(end, Finished) and end.reason == "cancelled" for end in ends)
    assert pool.load_history() == {}


def test_a_load_can_be_stopped_by_name(pool: RunnerPool, slow_model: RunnerModel) -> None:
    waiting = pool.begin_load(slow_model)
    wait_until_half_loaded(pool)

    was_there = pool.unload(slow_model.name)

    assert was_there
    with pytest.raises(LoadError, match="was stopped"):
        waiting.wait()
    wait_for(lambda: pool.states() == [])


def test_who_asks_for_a_load_that_was_just_broken_off_gets_a_new_one(
    pool: RunnerPool, slow_model: RunnerModel
) -> None:
    request = text_request("say x")
    handle = pool.submit(slow_model, request, Collector())
    wait_until_half_loaded(pool)
    handle.cancel()
    late = Collector()
    pool.submit(slow_model, request, late)

    wait_for(lambda: any(row.progress == 0.0 for row in pool.states()))
    wait_until_half_loaded(pool)
    slow_model.shards[0].write_text("go")

    assert isinstance(late.until_end(), Finished)


def test_no_more_than_a_bound_may_wait(clock: Clock) -> None:
    pool = RunnerPool(keep_alive_s=300, start=start_fake, clock=clock, max_waiting=2)
    runs = []
    for _ in range(16 + AHEAD):
        runs.append(ask(pool, "hang"))
        runs[-1].until_text()
    waiting = [ask(pool, "say x"), ask(pool, "say x")]

    with pytest.raises(OverloadedError, match="busy") as caught:
        ask(pool, "say x")
    counts = pool.num_waiting, pool.states()[0].num_waiting
    pool.close()
    ends = [sink.until_end() for sink in (*runs, *waiting)]

    assert caught.value.retry_after_s
    assert counts == (2, 2)
    assert all(isinstance(end, Failed) for end in ends)
    assert {sink.num_ends() for sink in (*runs, *waiting)} == {1}


def test_a_client_with_much_to_ask_does_not_hold_up_another(pool: RunnerPool) -> None:
    done: list[str] = []
    pool.load(fake_model())
    handles, running = [], [Collector() for _ in range(16 + AHEAD)]
    for sink in running:
        request = text_request("hang")
        handles.append(pool.submit(fake_model(), request, sink, RequestOptions(client="greedy")))
        sink.until_text()

    def sink_of(name: str) -> Callable[[Event], None]:
        return lambda event: done.append(name) if isinstance(event, Finished) else None

    for name in ["greedy"] * 5 + ["modest"]:
        request = text_request("say x")
        pool.submit(fake_model(), request, sink_of(name), RequestOptions(client=name))
    handles[0].cancel()
    wait_for(lambda: done != [])
    assert done[0] == "modest"
    for handle in handles[1:]:
        handle.cancel()
    wait_for(lambda: len(done) == 6)


def test_three_crashes_in_a_minute_are_enough_for_a_while(pool: RunnerPool, clock: Clock) -> None:
    for _ in range(3):
        ask(pool, "die").until_end()
        pool.settle()

    with pytest.raises(OverloadedError, match=r"crashed 3 times.*SIGKILL") as caught:
        ask(pool, "say x")
    (row,) = pool.states()
    clock.now += 61
    again = ask(pool, "say back")

    assert caught.value.retry_after_s == 60
    assert (row.state, row.name) == (ModelState.FAILED, "fake:latest")
    assert isinstance(again.until_end(), Finished)


def test_crashes_that_are_rare_do_no_harm(pool: RunnerPool, clock: Clock) -> None:
    for _ in range(4):
        ask(pool, "die").until_end()
        pool.settle()
        clock.now += 31

    assert isinstance(ask(pool, "say x").until_end(), Finished)


@pytest.fixture
def watchful(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[RunnerPool, Heartbeats]]:
    """Return a pool that pings its runners all the time, and their heartbeats on its clock."""
    heartbeats: Heartbeats = []

    def heartbeat() -> Heartbeat:
        heartbeats.append(Heartbeat(clock))
        return heartbeats[-1]

    monkeypatch.setattr(runner, "Heartbeat", heartbeat)
    pool = RunnerPool(keep_alive_s=300, start=start_fake, health_timeout_scale=TIMEOUT_SCALE)
    yield pool, heartbeats
    pool.close()


def let_time_pass(clock: Clock, heartbeat: Heartbeat, times: int) -> None:
    """Wait for so many signs of life, a fifth of the longest silence apart."""
    for _ in range(times):
        last = heartbeat.last
        wait_for(lambda last=last: heartbeat.last is not last)  # type: ignore[misc]
        clock.now += 0.2 * SILENCE_S * TIMEOUT_SCALE


@pytest.mark.parametrize(("prompt", "told"), [("stuck", "hung in a step"), ("deaf", "not answer")])
def test_a_runner_that_hangs_is_killed_and_its_requests_are_told(
    watchful: tuple[RunnerPool, Heartbeats], clock: Clock, prompt: str, told: str
) -> None:
    pool, heartbeats = watchful
    sink = ask(pool, prompt)
    sink.until_started()
    (heartbeat,) = heartbeats
    if prompt == "deaf":
        wait_for(lambda: heartbeat._ping_at is not None)
        clock.now += 1.1 * SILENCE_S * TIMEOUT_SCALE
    else:
        let_time_pass(clock, heartbeat, 5)
        clock.now += 0.2 * SILENCE_S * TIMEOUT_SCALE
    end = sink.until_end()
    again = ask(pool, "say x").until_end()

    assert isinstance(end, Failed)
    assert told in end.message
    assert isinstance(again, Finished)


def test_a_runner_that_is_only_slow_is_left_alone(
    watchful: tuple[RunnerPool, Heartbeats], clock: Clock
) -> None:
    pool, heartbeats = watchful
    sink = Collector()
    handle = pool.submit(fake_model(), text_request("quiet"), sink)
    sink.until_started()
    (heartbeat,) = heartbeats
    let_time_pass(clock, heartbeat, 15)
    handle.cancel()

    assert isinstance(sink.until_end(), Finished)


def test_a_pin_outlives_a_crash_and_a_larger_load_but_not_a_stop(
    pool: RunnerPool, clock: Clock
) -> None:
    pool.load(fake_model(), RequestOptions(pins=True, num_ctx=512))
    pool.load(fake_model(), RequestOptions(num_ctx=4096, keep_alive=KeepAlive(0)))
    larger = [(row.num_ctx, row.is_pinned) for row in pool.running()]
    ask(pool, "die").until_end()
    ask(pool, "say x", keep_alive=KeepAlive(0)).until_end()
    clock.now += 10**6
    pool.settle()
    crashed = [row.is_pinned for row in pool.running()]
    ask(pool, "die").until_end()
    pool.unload("fake:latest")
    ask(pool, "say x").until_end()

    assert larger == [(4096, True)]
    assert crashed == [True]
    assert [row.is_pinned for row in pool.running()] == [False]


def test_a_pinned_model_stays_and_makes_no_room_until_it_is_told_to_go(clock: Clock) -> None:
    pool = RunnerPool(keep_alive_s=300, start=start_fake, clock=clock, free_bytes=lambda: 0)
    pool.load(fake_model(), RequestOptions(pins=True))
    ask(pool, "say x", keep_alive=KeepAlive(0)).until_end()
    clock.now += 10**6
    pool.load(fake_model("other:latest"))

    rows = {row.name: row.is_pinned for row in pool.running()}
    assert all(row.until is None for row in pool.running() if row.is_pinned)
    pool.unload("fake:latest")
    left = [row.name for row in pool.running()]
    pool.close()

    assert rows == {"fake:latest": True, "other:latest": False}
    assert left == ["other:latest"]
