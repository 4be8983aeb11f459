"""Perplexity and divergence from logits."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from localrun.engine.measuring.divergence import (
    LEVELS,
    Samples,
    divergences,
    estimate,
    negative_log_likelihoods,
    normalizers,
    packed,
    packed_width,
    perplexity,
    rows_at_once,
    same_top,
    unpacked,
)


def random_logits(num_rows: int, num_vocab: int, seed: int = 0) -> np.ndarray:
    logits = np.random.default_rng(seed).normal(0, 3, (num_rows, num_vocab))
    return np.asarray(logits, np.float32)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    exact = logits.astype(np.float64)
    exact -= exact.max(axis=1, keepdims=True)
    result: np.ndarray = exact - np.log(np.exp(exact).sum(axis=1, keepdims=True))
    return result


@pytest.mark.parametrize("num_vocab", [7, 300, 2048])
def test_likelihoods_are_those_of_a_softmax(num_vocab: int) -> None:
    logits = random_logits(5, num_vocab)
    tokens = np.arange(5) % num_vocab

    found = negative_log_likelihoods(logits, tokens, normalizers(logits))

    np.testing.assert_allclose(found, -log_softmax(logits)[np.arange(5), tokens], rtol=1e-5)


def test_large_logits_do_not_overflow() -> None:
    logits = np.array([[1e4, 0.0, -1e4]], np.float32)

    found = negative_log_likelihoods(logits, np.array([0]), normalizers(logits))

    assert found.tolist() == [0.0]


@given(st.integers(0, 1000))
def test_divergence_is_that_of_the_definition(seed: int) -> None:
    base, model = random_logits(3, 50, seed), random_logits(3, 50, seed + 1)
    kept = unpacked(packed(base, normalizers(base)), 50)

    found = divergences(model, normalizers(model), kept)

    exact = log_softmax(base)
    expected = (np.exp(exact) * (exact - log_softmax(model))).sum(axis=1)
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-4)
    assert (found > -1e-3).all()


def test_a_model_does_not_diverge_from_itself() -> None:
    logits = random_logits(4, 1000)
    base = unpacked(packed(logits, normalizers(logits)), 1000)

    assert np.abs(divergences(logits, normalizers(logits), base)).max() < 1e-3
    assert same_top(logits, base).all()


def test_packed_rows_keep_a_level_of_sixteen_bits() -> None:
    logits = random_logits(3, 301) / 2  # all within 16 of the largest
    subtracted = normalizers(logits)

    rows = packed(logits, subtracted)

    assert rows.dtype == np.uint16
    assert rows.shape == (3, packed_width(301))
    step = (logits.max(axis=1) - logits.min(axis=1)) / LEVELS
    error = np.abs(unpacked(rows, 301) - log_softmax(logits)).max(axis=1)
    assert (error <= step).all()
    assert packed_width(301) == packed_width(302) == 306


def test_what_is_far_below_the_largest_is_kept_as_the_smallest() -> None:
    logits = np.array([[30.0, 29.0, -50.0]], np.float32)

    (row,) = unpacked(packed(logits, normalizers(logits)), 3)

    assert row[2] == pytest.approx(row[0] - 16, abs=1e-3)


def test_equal_logits_are_packed_without_a_step() -> None:
    logits = np.zeros((1, 8), np.float32)

    (row,) = unpacked(packed(logits, normalizers(logits)), 8)

    np.testing.assert_allclose(row, -math.log(8), rtol=1e-6)


def test_an_estimate_has_the_standard_error_of_the_mean() -> None:
    values = np.random.default_rng(1).normal(5, 2, 1000)

    found = estimate(values)

    assert found.mean == pytest.approx(values.mean())
    assert found.error == pytest.approx(values.std(ddof=1) / math.sqrt(1000), rel=1e-2)
    assert estimate(values[:5]).error == 0.0
    assert estimate(np.empty(0)).mean == 0.0


def test_perplexity_of_equal_chances_is_their_number() -> None:
    samples = Samples()
    samples.add(np.full(20, math.log(7)))
    samples.add(np.full(30, math.log(7)))

    found = perplexity(samples)

    assert found.mean == pytest.approx(7)
    assert found.error == pytest.approx(0, abs=1e-6)


def test_rows_of_any_vocabulary_are_bounded() -> None:
    assert rows_at_once(151_936) * 151_936 * 4 <= 32 * 1024**2
    assert rows_at_once(10**9) == 1
