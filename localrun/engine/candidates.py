"""Candidates of a sampler chain: llama.cpp's array of (token, logit), filled by numpy.

llama.cpp's own call lists the whole vocabulary for each sample: 0.19 ms with 152,000 tokens.
A chain that begins with top-k needs only the k best logits, which are found in 0.04 ms:

    logits          the vocabulary as a matrix of 32 rows (without the remainder)
    column maxima   at least k logits are no less than the k-th largest of them: the floor
    candidates      every logit that is no less than the floor: the k best and a few more
"""

from __future__ import annotations

import ctypes

import llama_cpp
import numpy as np
from llama_cpp import llama_cpp as api

from localrun.errors import BackendError

MATRIX_ROWS = 32
MIN_VOCAB = 16_384  # a smaller vocabulary is as fast as its best logits
ID, LOGIT, PROBABILITY = range(3)  # numbers of 4 bytes in a record


class Candidates:
    """Buffer for a vocabulary of ``num_vocab`` tokens, used by one sample at a time."""

    def __init__(self, num_vocab: int) -> None:
        self._records = np.zeros((num_vocab, 3), dtype=np.int32)
        self._logits = self._records.view(np.float32)[:, LOGIT]
        self._all = self._records.copy()
        self._all[:, ID] = np.arange(num_vocab)
        self._data = ctypes.cast(self._records.ctypes.data, api.llama_token_data_p)
        self._array = api.llama_token_data_array()

    def sample(self, chain: object, logits: np.ndarray, top_k: int | None) -> int:
        """Return the token that a chain selects, and let the chain accept it.

        ``logits`` has shape (num_vocab,). ``top_k``: the chain begins by dropping all but the
        k best; None: it does not.
        """
        tokens = _best(logits, top_k) if top_k else None
        count = self._fill_all(logits) if tokens is None else self._fill(tokens, logits)
        self._array.data, self._array.size = self._data, count  # a chain may change both
        self._array.selected, self._array.sorted = -1, False
        llama_cpp.llama_sampler_apply(chain, ctypes.byref(self._array))
        if not 0 <= self._array.selected < self._array.size:
            raise BackendError("llama.cpp's samplers have selected no token")
        token = int(self._array.data[self._array.selected].id)
        llama_cpp.llama_sampler_accept(chain, token)
        return token

    def _fill(self, tokens: np.ndarray, logits: np.ndarray) -> int:
        count = len(tokens)
        self._records[:count, ID], self._records[:count, PROBABILITY] = tokens, 0
        self._logits[:count] = logits[tokens]
        return count

    def _fill_all(self, logits: np.ndarray) -> int:
        self._records[:] = self._all
        self._logits[:] = logits
        return len(logits)


def _best(logits: np.ndarray, top_k: int) -> np.ndarray | None:
    """Return the tokens of the k best logits and a few more, or None if that saves no time."""
    width = len(logits) // MATRIX_ROWS
    if len(logits) < MIN_VOCAB or 2 * top_k > width:
        return None
    maxima = logits[: width * MATRIX_ROWS].reshape(MATRIX_ROWS, width).max(axis=0)
    floor = np.partition(maxima, width - top_k)[width - top_k]
    tokens = np.flatnonzero(logits >= floor)
    return tokens if len(tokens) >= top_k else None  # fewer if some logits are NaN
