"""A draw from the best few is the draw from all."""

from __future__ import annotations

import numpy as np
import pytest

from localrun.engine.candidates import Candidates
from localrun.engine.llama.library import start
from localrun.engine.params import SamplingParams
from localrun.engine.sampler_chain import SamplerChain
from localrun.errors import BackendError

NUM_VOCAB = 20_011  # does not divide into rows
native_log = start()


class Vocabulary:
    """As much of a model as a chain without words to break at needs."""

    num_vocab = NUM_VOCAB
    trained_context = 64


def sampler(**fields: float) -> SamplerChain:
    return SamplerChain(SamplingParams(seed=7, **fields), Vocabulary(), [])  # type: ignore[arg-type]


def some_logits(number: int) -> np.ndarray:
    rng = np.random.default_rng(number)
    logits = rng.standard_normal(NUM_VOCAB).astype(np.float32) * 3
    if number % 3 == 1:
        logits[rng.random(NUM_VOCAB) < 0.999] = -np.inf  # as a constraint leaves few
    if number % 3 == 2:
        logits = np.round(logits)  # many are equal
        logits[rng.integers(NUM_VOCAB, size=3)] = [40, 41, 42]
    return logits


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"temperature": 0.0},
        {"top_k": 1},
        {"top_k": 150, "temperature": 1.5, "top_p": 0.99},
        {"top_k": 10_000},
        {"top_k": 20, "xtc_probability": 0.5, "min_p": 0.01, "typical_p": 0.9},
    ],
    ids=str,
)
def test_the_best_few_are_drawn_from_as_all_would_be(fields: dict[str, float]) -> None:
    ours, plain = sampler(**fields), sampler(**fields)
    plain._top_k = None
    few, every = Candidates(NUM_VOCAB), Candidates(NUM_VOCAB)

    for number in range(60):
        logits = some_logits(number)
        drawn = ours.sample(few, logits)
        expected = plain.sample(every, logits)
        assert logits[drawn] == logits[expected]  # of equal ones, either
        assert drawn == expected or number % 3 == 2

    ours.close()
    plain.close()


def test_logits_that_are_no_numbers_are_drawn_from_or_refused() -> None:
    candidates = Candidates(NUM_VOCAB)

    for value in (np.nan, -np.inf):
        chain = sampler()
        try:
            token = chain.sample(candidates, np.full(NUM_VOCAB, value, np.float32))
        except BackendError:
            token = 0
        assert 0 <= token < NUM_VOCAB
        chain.close()


def test_a_chain_that_may_need_all_gets_all() -> None:
    chains = [sampler(top_k=0), sampler(top_n_sigma=1.0), sampler(mirostat=2)]

    assert [chain._top_k for chain in chains] == [None] * 3
    assert sampler(top_k=9)._top_k == 9
