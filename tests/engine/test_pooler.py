"""Vectors on tiny models of each kind, against a computation apart from ours."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import pytest

from localrun.engine.embedder import MAX_INPUTS
from localrun.engine.engine import AbortedError
from localrun.engine.llama.library import start
from localrun.engine.llama.model import Model, load_model
from localrun.engine.params import Pooling
from localrun.engine.pooler import Pooler
from tests.engine.embedding_reference import cosine, pooled, ranked, token_vectors
from tests.engine.tiny import KINDS, RANK, encoder, full_attention

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LEAST = 0.99999
VECTORS = [Pooling.MEAN, Pooling.CLS, Pooling.LAST]
LONGEST = 1500
native_log = start()


@contextmanager
def loading(path: Path) -> Iterator[Model]:
    model = load_model([path], native_log=native_log, num_gpu_layers=0, on_progress=lambda _: None)
    yield model
    model.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tiny")


@pytest.fixture(scope="module")
def bert(folder: Path, guide_path: Path) -> Iterator[Model]:
    encoder(folder / "bert.gguf", guide_path)
    with loading(folder / "bert.gguf") as model:
        yield model


@pytest.fixture(scope="module", params=KINDS)
def decoder(request: pytest.FixtureRequest, folder: Path, guide_path: Path) -> Iterator[Model]:
    path = folder / f"{request.param}.gguf"
    KINDS[request.param](path, guide_path)
    with loading(path) as model:
        yield model


@contextmanager
def pooling_by(model: Model, pooling: Pooling) -> Iterator[Pooler]:
    pooler = Pooler(model, pooling, longest=LONGEST, num_threads=1)
    yield pooler
    pooler.close()


def some_tokens(count: int, seed: int = 1) -> list[int]:
    return [int(token) for token in np.random.default_rng(seed).integers(0, 500, count)]


def in_parts(pooler: Pooler, tokens: list[int]) -> np.ndarray:
    vector = np.zeros(0)
    for begin in range(0, len(tokens), pooler.step_tokens):
        vector = pooler.extend(tokens, begin, min(begin + pooler.step_tokens, len(tokens)))
    return vector


INPUTS = [some_tokens(count, seed=count) for count in (1, 7, 30, 2, 90)]


@pytest.mark.parametrize("pooling", VECTORS)
def test_an_encoder_pools_together_as_alone(bert: Model, pooling: Pooling) -> None:
    with pooling_by(bert, pooling) as pooler:
        found = pooler.compute(INPUTS)

    for tokens, vector in zip(INPUTS, found, strict=True):
        assert cosine(vector, pooled(token_vectors(bert, tokens), pooling)) > LEAST


@pytest.mark.parametrize("pooling", VECTORS)
def test_a_decoder_pools_together_as_alone(decoder: Model, pooling: Pooling) -> None:
    with pooling_by(decoder, pooling) as pooler:
        found = [pooler.compute(INPUTS), pooler.compute(INPUTS)]

    for index, tokens in enumerate(INPUTS):
        expected = pooled(token_vectors(decoder, tokens), pooling)
        assert cosine(found[0][index], expected) > LEAST
        assert cosine(found[1][index], expected) > LEAST


@pytest.mark.parametrize("pooling", VECTORS)
def test_a_long_input_of_a_decoder_is_computed_in_parts(decoder: Model, pooling: Pooling) -> None:
    tokens = some_tokens(LONGEST)
    with pooling_by(decoder, pooling) as pooler:
        assert pooler.can_split
        assert len(tokens) > 2 * pooler.step_tokens
        found = in_parts(pooler, tokens)
        short = pooler.compute(INPUTS[1:2])[0]

    assert cosine(found, pooled(token_vectors(decoder, tokens), pooling)) > LEAST
    assert cosine(short, pooled(token_vectors(decoder, INPUTS[1]), pooling)) > LEAST


def test_a_long_input_of_an_encoder_is_computed_whole_and_short_ones_after_it(bert: Model) -> None:
    long = some_tokens(LONGEST)
    with pooling_by(bert, Pooling.MEAN) as pooler:
        assert not pooler.can_split
        found = [pooler.compute([tokens])[0] for tokens in (INPUTS[1], long, INPUTS[1], long)]

    assert cosine(found[1], pooled(token_vectors(bert, long), Pooling.MEAN)) > LEAST
    assert cosine(found[0], found[2]) > LEAST
    assert cosine(found[1], found[3]) > LEAST


def test_a_decoder_that_looks_both_ways_is_computed_whole(folder: Path, guide_path: Path) -> None:
    full_attention(folder / "both.gguf", guide_path, is_causal=False)
    long = some_tokens(LONGEST)
    with loading(folder / "both.gguf") as model, pooling_by(model, Pooling.MEAN) as pooler:
        assert not pooler.can_split
        found = [pooler.compute(batch) for batch in (INPUTS, [long], INPUTS)]
        expected = [pooled(token_vectors(model, tokens), Pooling.MEAN) for tokens in INPUTS]
        of_long = pooled(token_vectors(model, long), Pooling.MEAN)

    assert cosine(found[1][0], of_long) > LEAST
    for vectors in (found[0], found[2]):
        assert min(map(cosine, vectors, expected)) > LEAST


def test_a_ranking_head_scores(folder: Path, guide_path: Path) -> None:
    path = folder / "rank.gguf"
    encoder(path, guide_path, pooling=RANK)
    with loading(path) as model:
        assert (model.pooling, model.only_embeds) == (Pooling.RANK, True)
        with pooling_by(model, Pooling.RANK) as pooler:
            found = pooler.compute(INPUTS)
        expected = [ranked(token_vectors(model, tokens), path) for tokens in INPUTS]

    assert found.shape == (len(INPUTS), 1)
    assert np.allclose(found[:, 0], expected, atol=1e-3)


def test_what_llama_cpp_would_abort_over_is_refused_before(bert: Model) -> None:
    with pooling_by(bert, Pooling.MEAN) as pooler:
        for wrong in ([some_tokens(LONGEST + 1)], [[bert.num_vocab]], [[-1]]):
            with pytest.raises(ValueError, match="token"):
                pooler.compute(wrong)
        with pytest.raises(ValueError, match="inputs"):
            pooler.compute([[1]] * (MAX_INPUTS + 1))


def test_an_abort_breaks_off_and_the_next_batch_is_right(decoder: Model) -> None:
    with pooling_by(decoder, Pooling.MEAN) as pooler:
        expected = pooler.compute(INPUTS)
        thread = threading.Thread(target=pooler.abort)
        thread.start()
        thread.join()
        with pytest.raises(AbortedError):
            pooler.compute(INPUTS)
        found = pooler.compute(INPUTS)

    assert np.allclose(found, expected, atol=1e-4)


def test_the_file_says_what_a_model_is(bert: Model, decoder: Model) -> None:
    assert (bert.only_embeds, bert.pooling) == (True, Pooling.MEAN)
    assert (decoder.only_embeds, decoder.pooling) == (False, None)
