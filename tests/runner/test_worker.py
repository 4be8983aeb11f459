"""The engine's thread on the real model: cancels come through at once and alone."""

from __future__ import annotations

import queue
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from localrun.engine.context import LlamaContext
from localrun.engine.embedder import Embedder
from localrun.engine.engine import StepOutput
from localrun.engine.llama.library import start
from localrun.engine.llama.model import Model, load_model
from localrun.engine.pacing.reader import AnswerReader
from localrun.engine.params import FinishReason, SamplingParams
from localrun.engine.scheduler import SchedulerLimits
from localrun.engine.sequence import Sequence
from localrun.errors import BackendError
from localrun.runner.messages import Event, Failed, Finished, Step
from localrun.runner.null_engine import NullEngine
from localrun.runner.prompt_saver import NullPromptSaver
from localrun.runner.worker import CommandQueue, Worker
from localrun.store.store import embedded_models
from tests.runner.engine_parts import embedding_parts, generation_parts, no_pooler
from tests.waiting import HANG_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LIMITS = SchedulerLimits(num_slots=4, num_cells=4096, step_tokens=2048)
TRIES = 20  # for the test's thread to be in time for a step that runs
native_log = start()


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    path = Path(embedded_models()["guide:latest"])
    found = load_model([path], native_log=native_log, num_gpu_layers=0, on_progress=lambda _: None)
    yield found
    found.close()


class Serving:
    """A worker in its thread, and what it sent."""

    def __init__(self, model: Model, compact: Callable[[], bool] = lambda: False) -> None:
        self.context = LlamaContext(model, LIMITS, num_threads=1)
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        parts = generation_parts(model, LIMITS, self.context, self.context.open_cache())
        self.engine = parts.engine
        parts = replace(parts, saver=NullPromptSaver(compact))
        self.worker = Worker(parts, CommandQueue(), self._put)
        self._num_steps = 0  # before the last event
        self._thread = threading.Thread(target=self.worker.run)
        self._thread.start()

    def submit(self, request_id: int, prompt: list[int], new: int) -> Sequence:
        seq = Sequence(
            request_id=request_id,
            tokens=[*prompt],
            max_tokens=len(prompt) + new,
            sampling=SamplingParams(temperature=0),
        )
        self.worker.submit(seq)
        return seq

    def next_finished(self) -> Finished:
        while True:
            event = self.events.get(timeout=HANG_S)
            if isinstance(event, Finished):
                return event

    def cancel(self, request_id: int) -> Finished:
        """Cancel a request; no step may begin before it has ended."""
        self.worker.cancel(request_id)
        num_steps = self.worker.num_steps
        finished = self.next_finished()
        assert (finished.request_id, finished.reason) == (request_id, FinishReason.CANCELLED)
        assert self._num_steps <= num_steps
        return finished

    def wait_for_step(self, seq: Sequence) -> None:
        """Wait until a step computes this one, or has."""
        number = {seq.request_id}
        wait_until(lambda: self.engine.serves_mostly(number) or seq.num_generated > 0, poll_s=0.001)

    def wait_for_token(self, seq: Sequence) -> None:
        wait_until(lambda: seq.num_generated > 0)

    def _put(self, event: Event) -> None:
        if isinstance(event, Finished):
            self._num_steps = self.worker.num_steps
        self.events.put(event)

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
    for attempt in range(TRIES):
        prompt = [300 + attempt + number % 50 for number in range(2000)]
        seq = serving.submit(attempt, prompt, 4)
        serving.wait_for_step(seq)
        if serving.cancel(attempt).generated_tokens == 0:
            return

    raise AssertionError("each step went on to its end")


def test_a_cancel_ends_one_stream_and_the_other_goes_on(serving: Serving) -> None:
    serving.submit(TRIES, [301] * 10, 600)
    for attempt in range(3):
        seq = serving.submit(attempt, [300] * 10, 1500)
        serving.wait_for_token(seq)
        serving.cancel(attempt)
    last = serving.next_finished()

    assert (last.request_id, last.reason) == (TRIES, FinishReason.LENGTH)
    assert last.generated_tokens == 600


def test_tokens_of_a_small_model_are_computed_several_a_step(serving: Serving) -> None:
    num_before = serving.worker.num_steps

    serving.submit(1, [300] * 10, 600)

    assert serving.next_finished().generated_tokens == 600
    assert serving.worker.num_steps - num_before < 590


def test_the_next_request_after_a_cancel_uses_what_was_computed(serving: Serving) -> None:
    prompt = [300 + number % 50 for number in range(200)]
    seq = serving.submit(1, prompt, 1000)
    serving.wait_for_token(seq)
    serving.worker.cancel(1)
    assert serving.next_finished().reason is FinishReason.CANCELLED

    serving.submit(2, prompt, 1)

    assert serving.next_finished().cached_tokens == len(prompt) - 1


def test_the_cells_are_tidied_while_the_engine_is_idle(model: Model) -> None:
    tidied = threading.Semaphore(0)

    def compact() -> bool:
        tidied.release()
        return True  # more is to be done

    serving = Serving(model, compact)

    for number in (1, 2):
        serving.submit(number, [300] * 5, 2)
        assert serving.next_finished().reason is FinishReason.LENGTH
        for _ in range(3):
            assert tidied.acquire(timeout=HANG_S)
    serving.close()


class BrokenEngine(NullEngine):
    """An engine that yields a token in each of two steps, and then breaks."""

    has_work = True

    def __init__(self, seq: Sequence) -> None:
        self._outputs = [StepOutput(seq, text, None) for text in "ba"]

    def submit(self, seq: Sequence) -> None:
        """Take anything."""

    def step(self, _may_repeat: Callable[[], bool]) -> list[StepOutput]:
        if not self._outputs:
            raise BackendError("broken")
        return [self._outputs.pop()]


def test_a_broken_context_ends_a_stream_behind_its_text() -> None:
    reader = AnswerReader(token_s=0.1)
    seq = Sequence(request_id=7, tokens=[1], max_tokens=9, reader=reader)
    events: list[Event] = []
    parts = replace(embedding_parts(Embedder(no_pooler)), engine=BrokenEngine(seq))
    worker = Worker(parts, CommandQueue(), events.append)
    worker.submit(seq)

    with pytest.raises(BackendError, match="broken"):
        worker.run()

    deltas = [delta for event in events if isinstance(event, Step) for delta in event.deltas]
    assert "".join(text for _, text in deltas) == "ab"
    assert isinstance(events[-1], Failed)
    assert events[-1].request_id == 7
