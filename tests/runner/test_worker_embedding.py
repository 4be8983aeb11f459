"""Embedding in the engine's thread: beside streams, cancelled, and on a broken context."""

from __future__ import annotations

import functools
import queue
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from localrun.engine.context import LlamaContext
from localrun.engine.embedder import Embedder, EmbeddingJob
from localrun.engine.llama.library import start
from localrun.engine.llama.model import load_model
from localrun.engine.pacing.reader import AnswerReader
from localrun.engine.params import Pooling, SamplingParams
from localrun.engine.pooler import Pooler
from localrun.engine.scheduler import SchedulerLimits
from localrun.engine.sequence import Sequence
from localrun.errors import BackendError
from localrun.runner.messages import Embeddings, Event, Failed, Finished, Step
from localrun.runner.worker import CommandQueue, Worker
from localrun.store.store import embedded_models
from tests.engine.test_embedder import SumPools
from tests.runner.engine_parts import embedding_parts, generation_parts
from tests.waiting import HANG_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMITS = SchedulerLimits(num_slots=2, num_cells=1024)
native_log = start()


class Serving:
    """A worker with a model in its thread, and what it sent."""

    def __init__(self) -> None:
        path = Path(embedded_models()["guide:latest"])
        self.model = load_model(
            [path], native_log=native_log, num_gpu_layers=0, on_progress=lambda _: None
        )
        self.context = LlamaContext(self.model, LIMITS, num_threads=1)
        cache = self.context.open_cache()
        self.embedder = Embedder(functools.partial(Pooler, self.model, longest=1024, num_threads=1))
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        parts = generation_parts(self.model, LIMITS, self.context, cache)
        parts = replace(parts, embedder=self.embedder)
        self.worker = Worker(parts, CommandQueue(), self._put)
        self.num_steps = 0  # before the last job ended
        self._thread = threading.Thread(target=self.worker.run)
        self._thread.start()

    def generate(self, request_id: int, count: int) -> None:
        prompt = self.model.tokenize("Hello!")
        seq = Sequence(
            request_id=request_id,
            tokens=[*prompt],
            max_tokens=len(prompt) + count,
            sampling=SamplingParams(temperature=0),
            reader=AnswerReader(token_s=1.0),
        )
        self.worker.submit(seq)

    def embed(self, request_id: int, num_inputs: int, num_tokens: int) -> None:
        inputs = [list(range(10, 10 + num_tokens)) for _ in range(num_inputs)]
        self.worker.submit(EmbeddingJob(request_id=request_id, inputs=inputs, pooling=Pooling.MEAN))

    def until(self, *request_ids: int) -> list[Event]:
        """Return the events until these requests have ended."""
        open_ids, found = set(request_ids), []
        while open_ids:
            event = self.events.get(timeout=HANG_S)
            found.append(event)
            if isinstance(event, Embeddings | Failed | Finished):
                open_ids.remove(event.request_id)
        return found

    def _put(self, event: Event) -> None:
        if isinstance(event, Embeddings | Failed):
            self.num_steps = self.worker.num_steps
        self.events.put(event)

    def close(self) -> None:
        self.worker.stop()
        self._thread.join()
        self.embedder.close()
        self.context.close()
        self.model.close()


@pytest.fixture(scope="module")
def serving() -> Iterator[Serving]:
    found = Serving()
    yield found
    found.close()


def text_of(events: list[Event], request_id: int) -> str:
    deltas = [delta for event in events if isinstance(event, Step) for delta in event.deltas]
    return "".join(text for number, text in deltas if number == request_id)


def test_streams_go_on_between_batches(serving: Serving) -> None:
    serving.generate(1, 40)
    alone = text_of(serving.until(1), 1)

    serving.embed(2, 80, 100)  # 15 batches at least, however fast the machine is
    serving.generate(3, 40)
    events = serving.until(2, 3)

    before = events[: next(i for i, event in enumerate(events) if isinstance(event, Embeddings))]
    assert sum(isinstance(event, Step) for event in before) > 10
    assert text_of(events, 3) == alone


def test_a_cancel_comes_through_and_the_next_is_right(serving: Serving) -> None:
    serving.embed(4, 1, 50)
    expected = serving.until(4)[-1]
    before = serving.worker.num_steps
    serving.embed(5, 400, 500)
    wait_until(lambda: serving.worker.num_steps > before)

    serving.worker.cancel(5)
    num_steps = serving.worker.num_steps
    events = serving.until(5)
    ended_after = serving.num_steps
    serving.embed(6, 1, 50)
    found = serving.until(6)[-1]

    assert [getattr(event, "code", "") for event in events] == ["cancelled"]
    assert ended_after <= num_steps  # the batch that ran was the last of many
    assert isinstance(expected, Embeddings)
    assert isinstance(found, Embeddings)
    vectors = [np.frombuffer(event.vectors, "<f4") for event in (expected, found)]
    assert float(vectors[0] @ vectors[1]) > 1 - 1e-5


class BrokenPools(SumPools):
    def compute(self, inputs: list[list[int]]) -> np.ndarray:
        raise BackendError(f"broken over {len(inputs)} inputs")


def test_a_broken_context_ends_every_request_and_the_loop() -> None:
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    parts = embedding_parts(Embedder(lambda _: BrokenPools(can_split=False)))
    worker = Worker(parts, CommandQueue(), events.put)
    for number in (1, 2):
        worker.submit(EmbeddingJob(request_id=number, inputs=[[1]], pooling=Pooling.MEAN))

    with pytest.raises(BackendError, match="broken"):
        worker.run()

    ends = [events.get_nowait() for _ in range(events.qsize())]
    assert [(type(end), getattr(end, "request_id", 0)) for end in ends] == [
        (Failed, 1),
        (Failed, 2),
    ]


def test_a_model_that_only_embeds_is_served_without_an_engine() -> None:
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    pools = SumPools(can_split=False)
    worker = Worker(embedding_parts(Embedder(lambda _: pools)), CommandQueue(), events.put)
    thread = threading.Thread(target=worker.run)
    thread.start()

    worker.submit(EmbeddingJob(request_id=1, inputs=[[1], [2]], pooling=Pooling.MEAN))
    worker.cancel(99)
    answer = events.get(timeout=HANG_S)
    worker.stop()
    thread.join(HANG_S)

    assert isinstance(answer, Embeddings)
    assert answer.token_counts == (1, 1)
    assert not thread.is_alive()
