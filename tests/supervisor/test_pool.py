from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from localrun.engine.params import FinishReason
from localrun.errors import LoadError
from localrun.runner.messages import Failed, Finished, Generate
from localrun.supervisor.pool import RunnerPool
from tests.fakes.starting import Collector, fake_model, start_fake

if TYPE_CHECKING:
    from collections.abc import Iterator


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


def ask(pool: RunnerPool, prompt: str, **options: float | None) -> Collector:
    sink = Collector()
    pool.submit(fake_model(), Generate(request_id=0, prompt=prompt), sink, **options)  # type: ignore[arg-type]
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
    ticket = pool.submit(fake_model(), Generate(request_id=0, prompt="hang"), sink)
    sink.until_text()

    ticket.cancel()
    end = sink.until_end()
    ticket.cancel()

    assert isinstance(end, Finished)
    assert end.reason is FinishReason.CANCELLED
    assert pool.num_open == 0


def test_many_at_once_each_get_their_own_answer(pool: RunnerPool) -> None:
    sinks = [Collector() for _ in range(16)]

    def submit(number: int) -> None:
        pool.submit(fake_model(), Generate(request_id=0, prompt=f"say n {number}"), sinks[number])

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
    request = Generate(request_id=0, prompt="say x")

    with pytest.raises(LoadError, match="not a model"):
        pool.submit(fake_model(file="broken.gguf"), request, Collector())
    with pytest.raises(LoadError, match=r"SIGABRT.*assertion failed"):
        pool.submit(fake_model("other:latest", "dies.gguf"), request, Collector())

    assert pool.num_open == 0


def test_an_unused_model_is_unloaded_when_its_time_is_over(pool: RunnerPool, clock: Clock) -> None:
    ask(pool, "say x").until_end()
    clock.now += 299
    pool.sweep()
    before = len(pool.running())

    clock.now += 2
    pool.sweep()

    assert (before, len(pool.running())) == (1, 0)


def test_keep_alive_zero_unloads_after_the_answer_and_none_keeps_for_ever(
    pool: RunnerPool, clock: Clock
) -> None:
    ask(pool, "say x", keep_alive_s=None).until_end()
    clock.now += 10**9
    pool.sweep()
    kept = [model.until for model in pool.running()]

    ask(pool, "say x", keep_alive_s=0).until_end()
    pool.sweep()

    assert kept == [None]
    assert pool.running() == []


def test_a_busy_model_outlives_its_time(pool: RunnerPool, clock: Clock) -> None:
    sink = Collector()
    ticket = pool.submit(fake_model(), Generate(request_id=0, prompt="hang"), sink, keep_alive_s=1)
    sink.until_text()
    clock.now += 100
    pool.sweep()
    pool.unload("fake:latest")
    busy = len(pool.running())

    ticket.cancel()
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


def test_closing_ends_open_requests_with_an_error(clock: Clock) -> None:
    pool = RunnerPool(keep_alive_s=300, start=start_fake, clock=clock)
    sink = ask(pool, "hang")
    sink.until_text()

    pool.close()

    assert isinstance(sink.until_end(), Failed | Finished)
    assert pool.running() == []


def test_idle_time_counts_from_the_last_answer(pool: RunnerPool, clock: Clock) -> None:
    clock.now += 50
    before = pool.idle_s
    sink = Collector()
    ticket = pool.submit(fake_model(), Generate(request_id=0, prompt="hang"), sink)
    sink.until_text()
    clock.now += 50
    during = pool.idle_s
    ticket.cancel()
    sink.until_end()
    clock.now += 7

    assert (before, during, pool.idle_s) == (50, 0, 7)
