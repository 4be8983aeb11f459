"""Which inputs are embedded together, and in which order.

Every request gets one input of a batch in turn, so that a request of a thousand texts does
not keep a short one waiting. A step is one batch at most: the caller lets a step of the
generating engine go between two. Pure bookkeeping over a `PoolingBackend`: no native call.
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

MOST_TOGETHER = 16  # inputs in a batch; each sequence of a recurrent model has a state
GENTLE_S = 0.05  # what a batch may take beside running streams, about
FEWEST_TOKENS = 16
FIRST_SHARE = 4  # the first such batch, whose time nobody knows, is this much smaller


class PoolingBackend(Protocol):
    """What computes: see `Pooler`."""

    step_tokens: int  # the most that goes together, but for one input that is longer
    splits: bool  # whether an input may be computed in parts

    @property
    def width(self) -> int:
        """Return how many numbers a result has."""

    def compute(self, inputs: list[list[int]]) -> np.ndarray:
        """Return the vectors of whole inputs."""

    def extend(self, whole: list[int], begin: int, end: int) -> np.ndarray:
        """Return the vector of an input up to ``end``, of which all before ``begin`` is done."""

    def abort(self) -> None:
        """Break off what runs."""

    def clear_abort(self) -> None:
        """Forget an `abort` that came when nothing ran."""

    def close(self) -> None:
        """Free everything."""


@dataclass(slots=True, kw_only=True, eq=False)
class EmbeddingJob:
    """The inputs of one request, and what is known of them."""

    request_id: int
    inputs: list[list[int]]  # none is empty
    pooling: Pooling
    dimensions: int | None = None  # numbers to keep of each vector
    score_index: int = 0  # which output of a head for ranking is the score
    vectors: list[np.ndarray] = field(default_factory=list)  # in the order of the inputs
    failure: LocalrunError | None = None
    is_cancelled: bool = False

    @property
    def is_over(self) -> bool:
        """Return whether every input has its vector."""
        return len(self.vectors) == len(self.inputs)


class Embedder:
    """The queue of one model; one thread uses it, but for `abort_for`."""

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
        self._long: EmbeddingJob | None = None  # whose next input is computed in parts
        self._num_long_done = 0  # tokens of it
        self._in_flight: frozenset[int] = frozenset()
        self._running: PoolingBackend | None = None

    @property
    def has_work(self) -> bool:
        """Return whether a step would do anything."""
        return bool(self._jobs)

    def submit(self, job: EmbeddingJob) -> None:
        """Queue a request."""
        self._jobs.append(job)

    def cancel(self, request_id: int) -> EmbeddingJob | None:
        """Take a request out; None when it is not here."""
        job = next((job for job in self._jobs if job.request_id == request_id), None)
        if job is not None:
            job.is_cancelled = True
            self._leave(job)
        return job

    def abort_for(self, request_ids: set[int]) -> None:
        """Break off the batch that runs if it is for nobody else; safe from any thread."""
        in_flight, running = self._in_flight, self._running
        if running is not None and in_flight and in_flight <= request_ids:
            running.abort()

    def abort(self) -> None:
        """Break off the batch that runs."""
        running = self._running
        if running is not None:
            running.abort()

    def clear_abort(self) -> None:
        """Forget an abort that came when nothing ran."""
        for pooler in self._poolers.values():
            pooler.clear_abort()

    def step(self, *, is_alone: bool) -> list[EmbeddingJob]:
        """Compute one batch and return the requests that it ended.

        Raises:
            BackendError: a context is broken.
        """
        first = self._long or self._jobs[0]
        try:
            pooler = self._pooler(first.pooling)
            budget = pooler.step_tokens if is_alone else self._gentle_budget(pooler)
            moved = self._compute(pooler, first, budget)
        except AbortedError:
            self._long = None
            return []
        except LoadError as error:
            first.failure = error
            self._leave(first)
            return [first]
        ended = [job for job in moved if job.is_over]
        for job in ended:
            self._leave(job)
        return ended

    def close(self) -> None:
        """Free everything."""
        for pooler in self._poolers.values():
            pooler.close()
        self._poolers.clear()

    def _compute(
        self, pooler: PoolingBackend, first: EmbeddingJob, budget: int
    ) -> list[EmbeddingJob]:
        """Compute a batch, beginning with this request; return those that got a vector."""
        is_long = pooler.splits and len(_next_input(first)) > budget
        if is_long or self._long is first:
            return self._extend(pooler, first, budget)
        batch = self._together(first, budget, may_wait=pooler.splits)
        inputs = [tokens for _, tokens in batch]
        self._in_flight = frozenset(job.request_id for job, _ in batch)
        vectors = self._run(pooler, lambda: pooler.compute(inputs), sum(map(len, inputs)))
        for (job, _), vector in zip(batch, vectors, strict=True):
            job.vectors.append(vector)
        self._jobs.rotate(-1)
        return list(dict.fromkeys(job for job, _ in batch))

    def _extend(self, pooler: PoolingBackend, job: EmbeddingJob, budget: int) -> list[EmbeddingJob]:
        """Compute a part of a long input."""
        if self._long is not job:
            self._long, self._num_long_done = job, 0
        begin, whole = self._num_long_done, _next_input(job)
        end = min(begin + budget, len(whole))
        self._in_flight = frozenset({job.request_id})
        vector = self._run(pooler, lambda: pooler.extend(whole, begin, end), end - begin)
        self._num_long_done = end
        if end < len(whole):
            return []
        self._long = None
        job.vectors.append(vector)
        self._jobs.rotate(-1)
        return [job]

    def _run(
        self, pooler: PoolingBackend, work: Callable[[], np.ndarray], num_tokens: int
    ) -> np.ndarray:
        """Do the work, open to an abort, and learn how long it takes."""
        self._running = pooler
        begun = self._clock()
        try:
            found = work()
        finally:
            self._running, self._in_flight = None, frozenset()
        self._tokens_per_s = num_tokens / max(self._clock() - begun, 1e-6)
        return found

    def _gentle_budget(self, pooler: PoolingBackend) -> int:
        """Return how many tokens streams can wait for."""
        if self._tokens_per_s is None:
            return pooler.step_tokens // FIRST_SHARE
        affordable = int(self._tokens_per_s * GENTLE_S)
        return max(min(affordable, pooler.step_tokens), min(FEWEST_TOKENS, pooler.step_tokens))

    def _together(
        self, first: EmbeddingJob, budget: int, *, may_wait: bool
    ) -> list[tuple[EmbeddingJob, list[int]]]:
        """Return what goes into one batch: an input of each request in turn, while they fit."""
        batch: list[tuple[EmbeddingJob, list[int]]] = []
        total = 0
        for job, tokens in self._in_turn(first):
            total += len(tokens)
            if batch and (total > budget or len(batch) == MOST_TOGETHER):
                break
            if may_wait and len(tokens) > budget:
                break
            batch.append((job, tokens))
        return batch

    def _in_turn(self, first: EmbeddingJob) -> Iterator[tuple[EmbeddingJob, list[int]]]:
        """Yield the inputs that wait, of all requests that pool as the first does."""
        mates = [job for job in self._jobs if job.pooling is first.pooling]
        start = mates.index(first)
        mates = mates[start:] + mates[:start]
        for turn in range(MOST_TOGETHER):
            waiting = [job for job in mates if len(job.vectors) + turn < len(job.inputs)]
            yield from ((job, job.inputs[len(job.vectors) + turn]) for job in waiting)

    def _pooler(self, pooling: Pooling) -> PoolingBackend:
        pooler = self._poolers.get(pooling)
        if pooler is None:
            pooler = self._poolers[pooling] = self._open_pooler(pooling)
        return pooler

    def _leave(self, job: EmbeddingJob) -> None:
        self._jobs.remove(job)
        if self._long is job:
            self._long = None


def _next_input(job: EmbeddingJob) -> list[int]:
    return job.inputs[len(job.vectors)]


def finished_vectors(job: EmbeddingJob) -> np.ndarray:
    """Return a request's vectors, cut and normalised: float32, shape (inputs, dimensions).

    Raises:
        BackendError: the model computed what is no number.
    """
    vectors = np.stack(job.vectors)[:, : job.dimensions]
    if not np.isfinite(vectors).all():
        raise BackendError("the model computes no numbers: its weights may be damaged")
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1.0), dtype=np.float32)
