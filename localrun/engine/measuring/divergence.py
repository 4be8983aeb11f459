"""Perplexity of a model on a text, and the divergence of its predictions from those of a base.

    perplexity        exp of the mean negative log-likelihood of each next token
    KL divergence     sum over the vocabulary of p_base * (log p_base - log p), in nats
    same top token    share of positions at which both find the same token the likeliest

The base's log-probabilities are kept in 16 bits a token, as llama.cpp's own tool keeps them: linear
between the largest and the smallest, which is at most 16 below. So the figures are comparable with
that tool's, and a base is computed once, however many models are compared with it.

Everything here is numpy on some rows of logits at a time, float32 of shape (rows, vocabulary);
sums are float64.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

LEVELS = 65535
DEEPEST = 16.0  # nats below the largest that a base still tells apart
MOST_ERRORLESS = 10  # values, for which no error is estimated
BLOCK_BYTES = 32 * 1024**2  # of logits that are computed with at a time


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean and the standard error of it."""

    mean: float
    error: float


@dataclass(slots=True)
class Samples:
    """Values at the scored positions of a text."""

    parts: list[np.ndarray] = field(default_factory=list)

    def add(self, values: np.ndarray) -> None:
        """Add values."""
        self.parts.append(np.asarray(values, np.float64))

    def all(self) -> np.ndarray:
        """Return all values, float64."""
        return np.concatenate(self.parts) if self.parts else np.empty(0)

    def estimate(self) -> Estimate:
        """Return the mean of the values and its standard error."""
        return estimate(self.all())


def estimate(values: np.ndarray) -> Estimate:
    """Return the mean of values and its standard error, 0 for few values."""
    if not values.size:
        return Estimate(0.0, 0.0)
    mean = float(values.mean())
    variance = float(np.square(values).mean()) - mean * mean
    has_error = variance > 0 and values.size > MOST_ERRORLESS
    return Estimate(mean, math.sqrt(variance / (values.size - 1)) if has_error else 0.0)


def perplexity(log_likelihoods: Samples) -> Estimate:
    """Return the perplexity for negative log-likelihoods, with its error."""
    each = log_likelihoods.estimate()
    value = math.exp(min(each.mean, 700.0))
    return Estimate(value, value * each.error)


def normalizers(logits: np.ndarray) -> np.ndarray:
    """Return what is subtracted from logits for log-probabilities: float64 of shape (rows,)."""
    largest = logits.max(axis=1)
    sums = np.exp(logits - largest[:, None]).sum(axis=1, dtype=np.float64)
    result: np.ndarray = largest.astype(np.float64) + np.log(sums)
    return result


def negative_log_likelihoods(
    logits: np.ndarray, tokens: np.ndarray, subtracted: np.ndarray
) -> np.ndarray:
    """Return those of the tokens that follow each row."""
    found: np.ndarray = subtracted - logits[np.arange(len(tokens)), tokens]
    return found


def packed(logits: np.ndarray, subtracted: np.ndarray) -> np.ndarray:
    """Return log-probabilities in 16 bits, uint16 of shape (rows, `packed_width`).

    The first four numbers of a row are two float32: the step of a level, and the log-probability of
    level 0.
    """
    num_rows, num_vocab = logits.shape
    largest = logits.max(axis=1)
    smallest = np.maximum(logits.min(axis=1), largest - np.float32(DEEPEST))
    steps = ((largest - smallest) / np.float32(LEVELS)).astype(np.float32)
    rows = np.zeros((num_rows, packed_width(num_vocab)), np.uint16)
    heads = np.ascontiguousarray(np.stack((steps, smallest - subtracted), axis=1), np.float32)
    rows[:, :4] = heads.view(np.uint16)
    divisors = np.where(steps > 0, steps, 1)[:, None]
    levels = np.rint((logits - smallest[:, None]) / divisors)
    rows[:, 4 : 4 + num_vocab] = np.clip(levels, 0, LEVELS)
    return rows


def unpacked(rows: np.ndarray, num_vocab: int) -> np.ndarray:
    """Return log-probabilities from 16 bits: float32 of shape (rows, num_vocab)."""
    heads = np.ascontiguousarray(rows[:, :4]).view(np.float32)
    levels = rows[:, 4 : 4 + num_vocab].astype(np.float32)
    levels *= heads[:, :1]
    levels += heads[:, 1:2]
    return levels


def packed_width(num_vocab: int) -> int:
    """Return the 16-bit numbers of a packed row."""
    return 2 * ((num_vocab + 1) // 2) + 4


def divergences(logits: np.ndarray, subtracted: np.ndarray, base: np.ndarray) -> np.ndarray:
    """Return the KL divergence from the base at each row: float64 of shape (rows,).

    ``base`` are the base's log-probabilities; those below -16 are left out, as llama.cpp does.
    """
    weights = np.where(base > -DEEPEST, np.exp(base), np.float32(0))
    differences = base - logits
    differences += subtracted.astype(np.float32)[:, None]
    differences *= weights
    result: np.ndarray = differences.sum(axis=1, dtype=np.float64)
    return result


def same_top(logits: np.ndarray, base: np.ndarray) -> np.ndarray:
    """Return at which rows the likeliest token is that of the base."""
    same: np.ndarray = logits.argmax(axis=1) == base.argmax(axis=1)
    return same


def rows_at_once(num_vocab: int) -> int:
    """Return how many rows are computed with at a time."""
    return max(1, BLOCK_BYTES // (4 * num_vocab))
