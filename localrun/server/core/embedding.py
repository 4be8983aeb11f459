"""Embeddings and rerank scores, for all APIs.

The bytes of vectors pass through as the runner sent them. The bridge cancels the request of a
client that leaves.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from localrun.remote.model import RemoteTarget
from localrun.runner.messages import Embed, Embeddings, Finished, Ranks, Rerank
from localrun.server.core.bridge import EventStream, PoolRequest, end_of
from localrun.server.core.defaults import keep_alive_of
from localrun.server.core.labels import ModelLabels
from localrun.services.capabilities import check_is_model
from localrun.services.runner_models import embedding_model
from localrun.supervisor.model import RequestOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.engine.params import Pooling
    from localrun.server.core.bridge import Bridge
    from localrun.server.core.metrics import Metrics
    from localrun.server.core.remotes import Remotes
    from localrun.services.stored_model import StoredModel
    from localrun.supervisor.model import KeepAlive

T = TypeVar("T", Embeddings, Ranks)
FLOAT_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingRequest:
    """A request for embeddings."""

    model: str
    inputs: tuple[str | tuple[int, ...], ...]
    pooling: Pooling | None = None
    truncate: bool = False
    dimensions: int | None = None
    num_ctx: int | None = None
    keep_alive: KeepAlive | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """The vectors of a request, with its figures."""

    vectors: tuple[bytes, ...]  # float32, little-endian, each of length 1
    num_tokens: int
    load_s: float
    total_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RankRequest:
    """A request to score documents by their relevance to a query."""

    model: str
    query: str
    documents: tuple[str, ...]
    truncate: bool = False
    raw_scores: bool = False  # return the logits of models that compute logits
    num_ctx: int | None = None
    keep_alive: KeepAlive | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """The scores of documents, 0 to 1 unless raw scores are requested."""

    scores: tuple[float, ...]  # in the order of the documents
    num_tokens: int


class Embedding:
    """Answers by the runners of a pool, which load the model first."""

    def __init__(
        self,
        bridge: Bridge,
        find_model: Callable[[str], StoredModel],
        remotes: Remotes,
        metrics: Metrics,
    ) -> None:
        self._bridge = bridge
        self._remotes = remotes
        self._labels = ModelLabels(find_model)
        self._find_model = self._labels.find
        self._metrics = metrics

    async def embed(self, request: EmbeddingRequest) -> Embedded:
        """Return a vector for each input.

        Raises:
            LocalrunError: no such model, it does not load, an input is wrong or too long, or
                the runner fails.
        """
        begun = time.monotonic()
        message = Embed(
            request_id=0,  # the pool numbers requests
            inputs=request.inputs,
            pooling=request.pooling,
            truncate=request.truncate,
            dimensions=request.dimensions,
        )
        answer = await self._answer(request, message, Embeddings)
        if isinstance(answer, RemoteTarget):
            vectors, num_tokens = await self._remotes.embed(answer, request)
            self._count_tokens(request.model, num_tokens)
            return Embedded(
                vectors=vectors,
                num_tokens=num_tokens,
                load_s=0.0,
                total_s=time.monotonic() - begun,
            )
        event, load_s = answer
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
        message = Rerank(
            request_id=0,
            query=request.query,
            documents=request.documents,
            truncate=request.truncate,
        )
        answer = await self._answer(request, message, Ranks)
        if isinstance(answer, RemoteTarget):
            ranked = await self._remotes.rank(answer, request)
            self._count_tokens(request.model, ranked.num_tokens)
            return Ranked(
                scores=_chosen_scores(
                    ranked.scores,
                    are_probabilities=ranked.are_probabilities or request.raw_scores,
                ),
                num_tokens=ranked.num_tokens,
            )
        event, _ = answer
        scores = _chosen_scores(
            event.scores, are_probabilities=event.are_probabilities or request.raw_scores
        )
        return Ranked(scores=scores, num_tokens=self._count(request.model, event))

    async def load(self, name: str, *, num_ctx: int | None, keep_alive: KeepAlive | None) -> float:
        """Load a model without a request; return the seconds that took.

        Of a remote model, an engine is asked whether it is there.
        """
        prepare = partial(self._prepare, name, num_ctx, keep_alive, None)
        async with self._bridge.submitted(prepare) as events:
            if isinstance(events, EventStream):
                await end_of(events, Finished)
                return events.load_s
            if isinstance(events, RemoteTarget):
                await self._remotes.check(events)
            return 0.0

    async def _answer(
        self, request: EmbeddingRequest | RankRequest, message: Embed | Rerank, kind: type[T]
    ) -> tuple[T, float] | RemoteTarget:
        """Return the runner's answer and the seconds of the load, or the engine to ask."""
        prepare = partial(
            self._prepare, request.model, request.num_ctx, request.keep_alive, message
        )
        async with self._bridge.submitted(prepare) as events:
            if isinstance(events, EventStream):
                return await end_of(events, kind), events.load_s
            if isinstance(events, RemoteTarget):
                return events
            raise TypeError(f"no embedding: {type(events).__name__}")

    def _prepare(
        self,
        name: str,
        num_ctx: int | None,
        keep_alive: KeepAlive | None,
        message: Embed | Rerank | None,
    ) -> PoolRequest | RemoteTarget:
        model = self._find_model(name)
        check_is_model(model)
        if model.remote is not None:
            return self._remotes.target(model)
        stays = keep_alive_of(model.recipe, keep_alive)
        return PoolRequest(
            model=embedding_model(model),
            message=message,
            options=RequestOptions(num_ctx=num_ctx, keep_alive=stays),
        )

    def _count(self, name: str, event: Embeddings | Ranks) -> int:
        num_tokens = sum(event.token_counts)
        self._count_tokens(name, num_tokens)
        return num_tokens

    def _count_tokens(self, name: str, num_tokens: int) -> None:
        self._metrics.prompt_tokens.add(num_tokens, model=self._labels.of(name))


def _chosen_scores(scores: tuple[float, ...], *, are_probabilities: bool) -> tuple[float, ...]:
    return scores if are_probabilities else tuple(map(_probability, scores))


def _probability(logit: float) -> float:
    """Return the logistic function, which is 0.5 for 0."""
    if logit >= 0:
        return 1 / (1 + math.exp(-logit))
    return math.exp(logit) / (1 + math.exp(logit))
