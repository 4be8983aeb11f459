"""What a sampler chain chooses from: llama.cpp's array of (token, logit), made with numpy.

llama.cpp's own call lists the whole vocabulary for each draw: 0.19 ms with 152,000 tokens.
A chain that begins with "the k best" needs no more than these, which are found in 0.04 ms:

    logits          the vocabulary in 32 rows, all columns of equal height (the rest aside)
    column maxima   at least k logits are no less than the k-th largest of them: the floor
    candidates      every logit that is no less than the floor, by token: the k best and a few
"""

from __future__ import annotations

import ctypes

import llama_cpp
import numpy as np
from llama_cpp import llama_cpp as api

from localrun.errors import BackendError

HEIGHT = 32
LEAST_VOCAB = 16_384  # below, all are as quick as the best
RECORD = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])


class Candidates:
    """Room for a vocabulary of ``num_vocab`` tokens; one draw at a time uses it."""

    def __init__(self, num_vocab: int) -> None:
        self._records = np.zeros(num_vocab, dtype=RECORD)
        self._tokens = np.arange(num_vocab, dtype=np.int32)
        self._data = ctypes.cast(self._records.ctypes.data, api.llama_token_data_p)
        self._array = api.llama_token_data_array()

    def draw(self, chain: object, logits: np.ndarray, most: int | None) -> int:
        """Return the token that a chain selects of logits, shape (num_vocab,), and remember it.

        ``most``: the chain drops all but so many of the best at once; None: it may not.
        """
        tokens = _best(logits, most) if most else None
        count = self._fill(self._tokens if tokens is None else tokens, logits)
        self._array.data, self._array.size = self._data, count  # a chain may change both
        self._array.selected, self._array.sorted = -1, False
        llama_cpp.llama_sampler_apply(chain, ctypes.byref(self._array))
        if not 0 <= self._array.selected < self._array.size:
            raise BackendError("llama.cpp's samplers have selected no token")
        token = int(self._array.data[self._array.selected].id)
        llama_cpp.llama_sampler_accept(chain, token)
        return token

    def _fill(self, tokens: np.ndarray, logits: np.ndarray) -> int:
        records = self._records[: len(tokens)]
        records["id"] = tokens
        records["logit"] = logits[tokens] if len(tokens) < len(logits) else logits
        records["p"] = 0
        return len(tokens)


def _best(logits: np.ndarray, most: int) -> np.ndarray | None:
    """Return the tokens of the ``most`` best logits and a few more; None where that is no gain."""
    width = len(logits) // HEIGHT
    if len(logits) < LEAST_VOCAB or 2 * most > width:
        return None
    maxima = logits[: width * HEIGHT].reshape(HEIGHT, width).max(axis=0)
    floor = np.partition(maxima, width - most)[width - most]
    tokens = np.flatnonzero(logits >= floor)
    return tokens if len(tokens) >= most else None  # fewer: not all are numbers
