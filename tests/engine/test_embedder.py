"""The order of embedding, on a fake that tells which tokens it was given."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from localrun.engine.embedder import (
    MAX_INPUTS,
    Embedder,
    EmbeddingJob,
    finished_vectors,
)
from localrun.engine.engine import AbortedError
from localrun.engine.params import Pooling
from localrun.errors import BackendError, LoadError

STEP = 16


class SumPools:
    """A vector is the sum of the tokens and their number; checks what it is given."""

    width = 2
    step_tokens = STEP

    def __init__(self, *, can_split: bool) -> None:
        self.can_split = can_split
        self.batches: list[int] = []  # tokens of each
        self.aborts = 0  # how many of the next batches are broken off
        self._done = 0
        self._whole: list[int] = []

    def compute(self, inputs: list[list[int]]) -> np.ndarray:
        self._note(sum(map(len, inputs)), len(inputs))
        return np.array([[sum(tokens), len(tokens)] for tokens in inputs], dtype=float)

    def extend(self, whole: list[int], begin: int, end: int) -> np.ndarray:
        self._note(end - begin, 1)
        if begin == 0:
            self._whole, self._done = whole, 0
        assert (whole, begin) == (self._whole, self._done)
        self._done = end
        return np.array([sum(whole[:end]), end], dtype=float)

    def abort(self) -> None:
        self.aborts += 1

    def clear_abort(self) -> None:
        self.aborts = 0

    def close(self) -> None:
        """Free nothing."""

    def _note(self, num_tokens: int, num_inputs: int) -> None:
        if self.aborts:
            self.aborts -= 1
            self._done = -1
            raise AbortedError
        assert 0 < num_inputs <= MAX_INPUTS
        assert num_tokens <= STEP or (num_inputs == 1 and not self.can_split)
        self.batches.append(num_tokens)


lengths = st.lists(st.lists(st.integers(1, 3 * STEP), min_size=1, max_size=20), max_size=6)
poolings = st.sampled_from([Pooling.MEAN, Pooling.LAST])
# of each step: whether its batch is broken off if 0, and whether the embedder is alone; drawn at
# once, because the cost of draws within a test is the square of their number
turns = st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=60)


@given(
    requests=lengths,
    kinds=st.lists(poolings, min_size=6, max_size=6),
    can_split=st.booleans(),
    turns=turns,
)
def test_every_input_gets_its_vector_once(
    *,
    requests: list[list[int]],
    kinds: list[Pooling],
    can_split: bool,
    turns: list[tuple[int, bool]],
) -> None:
    pools = {kind: SumPools(can_split=can_split) for kind in kinds}
    embedder = Embedder(pools.__getitem__)
    jobs = [
        EmbeddingJob(
            request_id=number,
            inputs=[[number + 1] * size for size in sizes],
            pooling=kinds[number],
        )
        for number, sizes in enumerate(requests)
    ]
    for job in jobs:
        embedder.submit(job)

    ended: list[EmbeddingJob] = []
    for number, is_alone in itertools.chain(turns, itertools.repeat((1, True))):
        if not embedder.has_work:
            break
        if number == 0:
            pools[kinds[0]].abort()
        ended += embedder.step(is_alone=is_alone)

    assert sorted(job.request_id for job in ended) == list(range(len(jobs)))
    for job in jobs:
        expected = [[sum(tokens), len(tokens)] for tokens in job.inputs]
        assert np.array_equal(np.stack(job.vectors), expected)


def job_of(number: int, *sizes: int) -> EmbeddingJob:
    inputs = [[1] * size for size in sizes]
    return EmbeddingJob(request_id=number, inputs=inputs, pooling=Pooling.MEAN)


def test_a_short_request_passes_one_with_many_inputs() -> None:
    embedder = Embedder(lambda _: SumPools(can_split=True))
    embedder.submit(job_of(1, *[STEP // 2] * 50))
    embedder.submit(job_of(2, 3))

    steps = 0
    while 2 not in [job.request_id for job in embedder.step(is_alone=True)]:
        steps += 1

    assert steps <= 2


class SlowPools(SumPools):
    """Takes 2 ms a token on a clock of its own."""

    step_tokens = 64
    now = 0.0

    def extend(self, whole: list[int], begin: int, end: int) -> np.ndarray:
        self.batches.append(len(whole[begin:end]))
        self.now += (end - begin) * 0.002
        return np.zeros(2)


def test_batches_are_as_short_as_streams_beside_them_want() -> None:
    pools = SlowPools(can_split=True)
    embedder = Embedder(lambda _: pools, clock=lambda: pools.now)
    embedder.submit(job_of(1, 1000))

    for is_alone in (False, False, True, False):
        embedder.step(is_alone=is_alone)

    # a share of the step while nobody knows, then what 50 ms are worth
    assert pools.batches == [16, pytest.approx(25, abs=1), 64, pytest.approx(25, abs=1)]


@pytest.mark.parametrize("num_steps", [0, 1])
def test_a_cancelled_request_is_taken_out_and_the_next_is_served(num_steps: int) -> None:
    embedder = Embedder(lambda _: SumPools(can_split=True))
    long, other = job_of(1, 3 * STEP, 2), job_of(2, 2 * STEP)
    embedder.submit(long)
    embedder.submit(other)
    for _ in range(num_steps):
        assert embedder.step(is_alone=True) == []

    cancelled = embedder.cancel(1)
    ended = [job for _ in range(2) for job in embedder.step(is_alone=True)]

    assert cancelled is long
    assert long.is_cancelled
    assert embedder.cancel(1) is None
    assert ended == [other]
    assert not embedder.has_work


class AbortingPools(SumPools):
    """Is asked to break off in the middle of a batch, for the requests given."""

    embedder: Embedder
    aborted_for: set[int]

    def compute(self, inputs: list[list[int]]) -> np.ndarray:
        self.embedder.abort_for(self.aborted_for)
        return super().compute(inputs)


@pytest.mark.parametrize(("cancelled", "is_broken_off"), [({1}, False), ({1, 2}, True)])
def test_a_batch_is_broken_off_when_it_is_for_nobody_else(
    *, cancelled: set[int], is_broken_off: bool
) -> None:
    pools = AbortingPools(can_split=True)
    embedder = pools.embedder = Embedder(lambda _: pools)
    pools.aborted_for = cancelled
    embedder.submit(job_of(1, 2))
    embedder.submit(job_of(2, 2))

    ended = embedder.step(is_alone=True)

    assert len(ended) == (0 if is_broken_off else 2)


def test_no_memory_ends_the_one_request() -> None:
    def refuse(_: Pooling) -> SumPools:
        raise LoadError("no memory")

    embedder = Embedder(refuse)
    embedder.submit(job_of(1, 2))

    (job,) = embedder.step(is_alone=True)

    assert job.failure is not None
    assert not embedder.has_work


def test_vectors_are_cut_then_normalised_and_what_is_no_number_is_an_error() -> None:
    job = job_of(1, 1, 1)
    job.vectors, job.dimensions = [np.array([3.0, 4.0, 9.0]), np.zeros(3)], 2

    assert finished_vectors(job).tolist() == [[np.float32(0.6), np.float32(0.8)], [0, 0]]

    job.vectors[1] = np.array([np.nan, 0, 0])
    with pytest.raises(BackendError, match="numbers"):
        finished_vectors(job)
