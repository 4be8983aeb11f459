"""Embedder: queue of embedding requests, and the batches that a step computes.

Requests take turns with one input each, so that a request of a thousand texts does not block
a short one. A step is at most one batch: between two of them the caller runs a step of the
generating engine. Pure bookkeeping over a `PoolingBackend`: no native call.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from localrun.engine.engine import AbortedError
from localrun.errors import BackendError, LoadError, LocalrunError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from localrun.engine.params import Pooling

MAX_INPUTS = 16  # in a batch; each sequence of a recurrent model has a state
SHARED_STEP_S = 0.05  # approximate time of a batch while streams are running
MIN_TOKENS = 16
FIRST_SHARE = 4  # the first such batch, before anything is measured, is this much smaller


class PoolingBackend(Protocol):
    """Context in embedding mode, see `Pooler`."""

    step_tokens: int  # maximum of a batch, unless it is one longer input

    @property
    def can_split(self) -> bool:
        """Return whether an input may be computed in parts."""

    @property
    def width(self) -> int:
        """Return how many numbers a result has."""

    def compute(self, inputs: list[list[int]]) -> np.ndarray:
        """Return the vectors of whole inputs."""

    def extend(self, tokens: list[int], start: int, end: int) -> np.ndarray:
        """Return the vector of ``tokens[:end]``, of which ``tokens[:start]`` is computed."""

    def abort(self) -> None:
        """Abort the running batch; safe from any thread."""

    def clear_abort(self) -> None:
        """Reset an `abort` that was called while nothing ran."""

    def close(self) -> None:
        """Free all contexts."""


@dataclass(slots=True, kw_only=True, eq=False)
class EmbeddingJob:
    """The inputs of one request, and their vectors so far."""

    request_id: int
    inputs: list[list[int]]  # token ids; none is empty
    pooling: Pooling
    dimensions: int | None = None  # numbers to keep of each vector
    score_index: int = 0  # index of the score in the output of a ranking head
    vectors: list[np.ndarray] = field(default_factory=list)  # in the order of the inputs
    failure: LocalrunError | None = None
    is_cancelled: bool = False

    @property
    def is_over(self) -> bool:
        """Return whether every input has its vector."""
        return len(self.vectors) == len(self.inputs)


class Embedder:
    """Embedding requests of one model; only one thread uses it, except `abort` and `abort_for`."""

    def __init__(
        self,
        open_pooler: Callable[[Pooling], PoolingBackend],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open_pooler = open_pooler
        self._clock = clock
        self._tokens_per_s: float | None = None  # of the last batch
        self._poolers: dict[Pooling, PoolingBackend] = {}
        self._jobs: deque[EmbeddingJob] = deque()
        self._split_job: EmbeddingJob | None = None  # its next input is computed in parts
        self._num_split_done = 0  # computed tokens of that input
        self._in_flight: frozenset[int] = frozenset()  # request ids of the running batch
        self._running: PoolingBackend | None = None

    @property
    def has_work(self) -> bool:
        """Return whether a step would do anything."""
        return bool(self._jobs)

    def submit(self, job: EmbeddingJob) -> None:
        """Queue a request."""
        self._jobs.append(job)

    def cancel(self, request_id: int) -> EmbeddingJob | None:
        """Remove and return a request, or None if it is not queued."""
        job = next((job for job in self._jobs if job.request_id == request_id), None)
        if job is not None:
            job.is_cancelled = True
            self._remove(job)
        return job

    def abort_for(self, request_ids: set[int]) -> None:
        """Abort the running batch if it serves only these requests; safe from any thread."""
        in_flight, running = self._in_flight, self._running
        if running is not None and in_flight and in_flight <= request_ids:
            running.abort()

    def abort(self) -> None:
        """Abort the running batch; safe from any thread."""
        running = self._running
        if running is not None:
            running.abort()

    def clear_abort(self) -> None:
        """Reset an abort that was called while nothing ran."""
        for pooler in self._poolers.values():
            pooler.clear_abort()

    def step(self, *, is_alone: bool) -> list[EmbeddingJob]:
        """Compute one batch; return the requests that finished or failed.

        ``is_alone``: no sequence is generating, so that the batch may take its full time.

        Raises:
            BackendError: a context is broken.
        """
        first = self._split_job or self._jobs[0]
        try:
            pooler = self._pooler(first.pooling)
            budget = pooler.step_tokens if is_alone else self._shared_budget(pooler)
            advanced = self._compute(pooler, first, budget)
        except AbortedError:
            self._split_job = None
            return []
        except LoadError as error:
            first.failure = error
            self._remove(first)
            return [first]
        finished = [job for job in advanced if job.is_over]
        for job in finished:
            self._remove(job)
        return finished

    def close(self) -> None:
        """Free all contexts."""
        for pooler in self._poolers.values():
            pooler.close()
        self._poolers.clear()

    def _compute(
        self, pooler: PoolingBackend, first: EmbeddingJob, budget: int
    ) -> list[EmbeddingJob]:
        """Compute a batch that begins with ``first``; return the requests that got a vector."""
        is_too_long = pooler.can_split and len(_next_input(first)) > budget
        if is_too_long or self._split_job is first:
            return self._extend(pooler, first, budget)
        batch = self._select_batch(first, budget, can_split=pooler.can_split)
        inputs = [tokens for _, tokens in batch]
        self._in_flight = frozenset(job.request_id for job, _ in batch)
        vectors = self._run(pooler, lambda: pooler.compute(inputs), sum(map(len, inputs)))
        for (job, _), vector in zip(batch, vectors, strict=True):
            job.vectors.append(vector)
        self._jobs.rotate(-1)
        return list(dict.fromkeys(job for job, _ in batch))

    def _extend(self, pooler: PoolingBackend, job: EmbeddingJob, budget: int) -> list[EmbeddingJob]:
        """Compute the next part of a long input."""
        if self._split_job is not job:
            self._split_job, self._num_split_done = job, 0
        start, tokens = self._num_split_done, _next_input(job)
        end = min(start + budget, len(tokens))
        self._in_flight = frozenset({job.request_id})
        vector = self._run(pooler, lambda: pooler.extend(tokens, start, end), end - start)
        self._num_split_done = end
        if end < len(tokens):
            return []
        self._split_job = None
        job.vectors.append(vector)
        self._jobs.rotate(-1)
        return [job]

    def _run(
        self, pooler: PoolingBackend, compute: Callable[[], np.ndarray], num_tokens: int
    ) -> np.ndarray:
        """Return the result of ``compute``, which can be aborted, and measure its speed."""
        self._running = pooler
        started_at = self._clock()
        try:
            vectors = compute()
        finally:
            self._running, self._in_flight = None, frozenset()
        self._tokens_per_s = num_tokens / max(self._clock() - started_at, 1e-6)
        return vectors

    def _shared_budget(self, pooler: PoolingBackend) -> int:
        """Return the token budget of a batch while streams are running."""
        if self._tokens_per_s is None:
            return pooler.step_tokens // FIRST_SHARE
        affordable = int(self._tokens_per_s * SHARED_STEP_S)
        return max(min(affordable, pooler.step_tokens), min(MIN_TOKENS, pooler.step_tokens))

    def _select_batch(
        self, first: EmbeddingJob, budget: int, *, can_split: bool
    ) -> list[tuple[EmbeddingJob, list[int]]]:
        """Return the inputs of one batch: one of each request in turn, while they fit."""
        batch: list[tuple[EmbeddingJob, list[int]]] = []
        total = 0
        for job, tokens in self._in_turn(first):
            total += len(tokens)
            if batch and (total > budget or len(batch) == MAX_INPUTS):
                break
            if can_split and len(tokens) > budget:
                break
            batch.append((job, tokens))
        return batch

    def _in_turn(self, first: EmbeddingJob) -> Iterator[tuple[EmbeddingJob, list[int]]]:
        """Yield the waiting inputs of all requests with the same pooling, one each in turn."""
        jobs = [job for job in self._jobs if job.pooling is first.pooling]
        start = jobs.index(first)
        jobs = jobs[start:] + jobs[:start]
        for turn in range(MAX_INPUTS):
            waiting = [job for job in jobs if len(job.vectors) + turn < len(job.inputs)]
            yield from ((job, job.inputs[len(job.vectors) + turn]) for job in waiting)

    def _pooler(self, pooling: Pooling) -> PoolingBackend:
        pooler = self._poolers.get(pooling)
        if pooler is None:
            pooler = self._poolers[pooling] = self._open_pooler(pooling)
        return pooler

    def _remove(self, job: EmbeddingJob) -> None:
        self._jobs.remove(job)
        if self._split_job is job:
            self._split_job = None


def _next_input(job: EmbeddingJob) -> list[int]:
    return job.inputs[len(job.vectors)]


def finished_vectors(job: EmbeddingJob) -> np.ndarray:
    """Return a request's vectors, cut to ``dimensions`` and normalised to length 1.

    float32, shape (num_inputs, dimensions).

    Raises:
        BackendError: the model computed values that are not finite.
    """
    vectors = np.stack(job.vectors)[:, : job.dimensions]
    if not np.isfinite(vectors).all():
        raise BackendError("the model computes no numbers: its weights may be damaged")
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1.0), dtype=np.float32)
