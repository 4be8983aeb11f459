"""The engine's thread on the real model: cancels come through at once and alone."""

from __future__ import annotations

import queue
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from localrun.engine.context import Context
from localrun.engine.engine import Engine
from localrun.engine.library import start
from localrun.engine.model import Model, load_model
from localrun.engine.params import FinishReason, SamplingParams
from localrun.engine.scheduler import Limits, Scheduler
from localrun.engine.sequence import Sequence
from localrun.runner.messages import Event, Finished
from localrun.runner.worker import Worker
from localrun.store.embedded import embedded_models

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMITS = Limits(num_slots=4, num_cells=4096, step_tokens=2048)
MOST_S = 0.1
TRIES = 3  # the quickest counts: others use the processors too
native_log = start()


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    path = Path(embedded_models()["guide:latest"])
    found = load_model([path], native_log=native_log, num_gpu_layers=0, on_progress=lambda _: None)
    yield found
    found.close()


class Serving:
    """A worker in its thread, and what it sent."""

    def __init__(self, model: Model) -> None:
        self.context = Context(model, LIMITS, num_threads=1)
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.cache = self.context.open_cache()
        scheduler = Scheduler(LIMITS, self.cache)
        engine = Engine(self.context, scheduler, pieces=model.pieces, eog=frozenset())
        self.worker = Worker(engine, self.context, self.events.put)
        self.num_generated = 0  # by requests that were cancelled
        self._thread = threading.Thread(target=self.worker.run)
        self._thread.start()

    def submit(self, request_id: int, prompt: list[int], new: int) -> None:
        self.worker.submit(
            Sequence(
                request_id=request_id,
                tokens=[*prompt],
                max_tokens=len(prompt) + new,
                sampling=SamplingParams(temperature=0),
            )
        )

    def next_finished(self) -> Finished:
        while True:
            event = self.events.get(timeout=30)
            if isinstance(event, Finished):
                return event

    def cancel(self, request_id: int) -> float:
        """Return the seconds until it has ended."""
        begun = time.monotonic()
        self.worker.cancel(request_id)
        finished = self.next_finished()
        self.num_generated += finished.generated_tokens
        assert (finished.request_id, finished.reason) == (request_id, FinishReason.CANCELLED)
        return time.monotonic() - begun

    def close(self) -> None:
        self.worker.stop()
        self._thread.join()
        self.context.close()


@pytest.fixture
def serving(model: Model) -> Iterator[Serving]:
    found = Serving(model)
    yield found
    found.close()


def test_a_cancel_breaks_a_long_prompt_off(serving: Serving) -> None:
    quickest_s = 30.0
    for attempt in range(TRIES):
        serving.submit(attempt, [300 + attempt + number % 50 for number in range(2000)], 4)
        time.sleep(0.05)  # the one step that computes all of it runs now
        quickest_s = min(quickest_s, serving.cancel(attempt))

    assert quickest_s < MOST_S
    assert serving.num_generated == 0


def test_a_cancel_ends_one_stream_and_the_other_goes_on(serving: Serving) -> None:
    serving.submit(TRIES, [301] * 10, 600)
    quickest_s = 30.0
    for attempt in range(TRIES):
        serving.submit(attempt, [300] * 10, 1500)
        time.sleep(0.02)
        quickest_s = min(quickest_s, serving.cancel(attempt))
    last = serving.next_finished()

    assert quickest_s < MOST_S
    assert (last.request_id, last.reason) == (TRIES, FinishReason.LENGTH)
    assert last.generated_tokens == 600


def test_the_next_request_after_a_cancel_uses_what_was_computed(serving: Serving) -> None:
    prompt = [300 + number % 50 for number in range(200)]
    serving.submit(1, prompt, 1000)
    time.sleep(0.2)
    serving.worker.cancel(1)
    assert serving.next_finished().reason is FinishReason.CANCELLED

    serving.submit(2, prompt, 1)

    assert serving.next_finished().cached_tokens == len(prompt) - 1


def test_the_cells_are_tidied_while_nothing_is_to_be_done(serving: Serving) -> None:
    tidied = threading.Semaphore(0)

    def tidy() -> bool:
        tidied.release()
        return True  # more is to be done

    serving.worker.tidy_with(tidy)

    for number in (1, 2):
        serving.submit(number, [300] * 5, 2)
        assert serving.next_finished().reason is FinishReason.LENGTH
        for _ in range(3):
            assert tidied.acquire(timeout=5)
