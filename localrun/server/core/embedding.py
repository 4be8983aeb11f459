"""Embeddings and ranks: the core requests that all APIs translate to, beside `Completions`.

The bytes of vectors pass through as the runner sent them. When the client goes away, the
request is cancelled.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.errors import BackendError, error_named
from localrun.runner.messages import Embed, Embeddings, Failed, Ranks, Rerank, Terminal
from localrun.server.core.client import current_client
from localrun.server.core.defaults import keep_alive_of
from localrun.server.core.labels import ModelLabels
from localrun.server.core.loads import until_loaded
from localrun.services.capabilities import check_is_model
from localrun.services.runner_models import embedding_model
from localrun.supervisor.model import RequestOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.engine.params import Pooling
    from localrun.runner.messages import Event
    from localrun.server.core.metrics import Metrics
    from localrun.services.stored_model import StoredModel
    from localrun.supervisor.model import KeepAlive
    from localrun.supervisor.pool import RunnerPool
    from localrun.supervisor.request_queue import RequestHandle

NUM_THREADS = 32  # read models' files, and wait for loads without a question
FLOAT_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingRequest:
    """What any client can ask for."""

    model: str
    inputs: tuple[str | tuple[int, ...], ...]
    pooling: Pooling | None = None
    truncate: bool = False
    dimensions: int | None = None
    num_ctx: int | None = None
    keep_alive: KeepAlive | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """The vectors of a request, and what they took."""

    vectors: tuple[bytes, ...]  # float32, little-endian, each of length 1
    num_tokens: int
    load_s: float
    total_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RankRequest:
    """A query and the documents that may answer it."""

    model: str
    query: str
    documents: tuple[str, ...]
    truncate: bool = False
    raw_scores: bool = False  # logits as the model gives them, where it gives logits
    num_ctx: int | None = None
    keep_alive: KeepAlive | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """The documents' scores, 0 to 1 unless raw ones were asked for."""

    scores: tuple[float, ...]  # in the order of the documents
    num_tokens: int


class Embedding:
    """Answers by the runners of a pool, which load the model for it."""

    def __init__(
        self, pool: RunnerPool, find_model: Callable[[str], StoredModel], metrics: Metrics
    ) -> None:
        self._pool = pool
        self._labels = ModelLabels(find_model)
        self._find_model = self._labels.find
        self._metrics = metrics
        self._threads = ThreadPoolExecutor(NUM_THREADS, thread_name_prefix="embedding")

    async def embed(self, request: EmbeddingRequest) -> Embedded:
        """Return a vector for each input.

        Raises:
            LocalrunError: no such model, it does not load, an input is wrong or too long, or
                the runner fails.
        """
        begun = time.monotonic()
        wanted = Embed(
            request_id=0,  # the pool numbers requests
            inputs=request.inputs,
            pooling=request.pooling,
            truncate=request.truncate,
            dimensions=request.dimensions,
        )
        event, load_s = await self._ask(request, wanted)
        if not isinstance(event, Embeddings):
            raise BackendError("the runner gave another answer than was asked for")
        size = event.dimensions * FLOAT_BYTES
        return Embedded(
            vectors=tuple(
                event.vectors[start : start + size] for start in range(0, len(event.vectors), size)
            ),
            num_tokens=self._count(request.model, event),
            load_s=load_s,
            total_s=time.monotonic() - begun,
        )

    async def rank(self, request: RankRequest) -> Ranked:
        """Return a score for each document.

        Raises:
            LocalrunError: as for `embed`, or the model does not rank.
        """
        wanted = Rerank(
            request_id=0,
            query=request.query,
            documents=request.documents,
            truncate=request.truncate,
        )
        event, _ = await self._ask(request, wanted)
        if not isinstance(event, Ranks):
            raise BackendError("the runner gave another answer than was asked for")
        scores = event.scores
        if not event.are_probabilities and not request.raw_scores:
            scores = tuple(map(_probability, scores))
        return Ranked(scores=scores, num_tokens=self._count(request.model, event))

    async def load(self, name: str, *, num_ctx: int | None, keep_alive: KeepAlive | None) -> float:
        """Load a model without embedding; return the seconds that took."""
        model = await asyncio.to_thread(self._find_model, name)
        check_is_model(model)
        stays = keep_alive_of(model.recipe, keep_alive)
        wanted = RequestOptions(num_ctx=num_ctx, keep_alive=stays, client=current_client())
        loading = self._pool.begin_load(embedding_model(model), wanted)
        return await until_loaded(loading, self._threads)

    async def _ask(
        self, request: EmbeddingRequest | RankRequest, wanted: Embed | Rerank
    ) -> tuple[Terminal, float]:
        """Return the runner's answer, and the seconds that the model took to load."""
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[Event] = loop.create_future()

        def answer(event: Event) -> None:
            if not answered.done():
                answered.set_result(event)

        def sink(event: Event) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens
                loop.call_soon_threadsafe(answer, event)

        submit = contextvars.copy_context().run  # with the request's id, for the log
        submission = loop.run_in_executor(
            self._threads, submit, self._submit, request, wanted, sink
        )
        try:
            ticket = await asyncio.shield(submission)
        except asyncio.CancelledError:  # the client left meanwhile
            submission.add_done_callback(self._cancel_late)
            raise
        try:
            event = await answered
        except asyncio.CancelledError:
            self._threads.submit(ticket.cancel)  # a runner that is busy may let it wait
            raise
        if isinstance(event, Failed):
            raise error_named(event.code, event.message, hint=event.hint, param=event.param)
        if not isinstance(event, Terminal):
            raise BackendError("the runner gave another answer than was asked for")
        return event, ticket.load_s

    def _submit(
        self,
        request: EmbeddingRequest | RankRequest,
        wanted: Embed | Rerank,
        sink: Callable[[Event], None],
    ) -> RequestHandle:
        model = self._find_model(request.model)
        check_is_model(model)
        return self._pool.submit(
            embedding_model(model),
            wanted,
            sink,
            RequestOptions(
                num_ctx=request.num_ctx,
                keep_alive=keep_alive_of(model.recipe, request.keep_alive),
                client=current_client(),
            ),
        )

    def _cancel_late(self, submission: asyncio.Future[RequestHandle]) -> None:
        if not submission.cancelled() and submission.exception() is None:
            self._threads.submit(submission.result().cancel)

    def _count(self, name: str, event: Embeddings | Ranks) -> int:
        num_tokens = sum(event.token_counts)
        self._metrics.prompt_tokens.add(num_tokens, model=self._labels.of(name))
        return num_tokens


def _probability(logit: float) -> float:
    """Return the logistic function, which is 0.5 for 0."""
    if logit >= 0:
        return 1 / (1 + math.exp(-logit))
    return math.exp(logit) / (1 + math.exp(logit))
