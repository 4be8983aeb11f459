"""Grammars that a sequence must obey, by llguidance.

One `Grammars` a model: it prepares the vocabulary once (up to a second for large
ones) and compiles a grammar once. Building is slow and belongs to no step; the
mask of a token costs some 50 microseconds.
"""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import numpy as np
from llguidance import LLMatcher
from llguidance.llamacpp import lltokenizer_from_vocab

from localrun.errors import BackendError

if TYPE_CHECKING:
    from llguidance import LLTokenizer

    from localrun.engine.model import Model

MASK_BITS = 32
# flexible white space lets a small model write blanks until its context is full
ANY_OBJECT = {
    "type": "object",
    "x-guidance": {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "},
}


class Grammars:
    """Make constraints for sequences of one model; any thread may call."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._lock = threading.Lock()
        self._tokenizer: LLTokenizer | None = None

    def json_object(self) -> Matcher:
        """Return a constraint that lets exactly one JSON object through."""
        grammar = LLMatcher.grammar_from_json_schema(json.dumps(ANY_OBJECT))
        return Matcher(LLMatcher(self._prepared(), grammar, log_level=0), self._model.num_vocab)

    def _prepared(self) -> LLTokenizer:
        with self._lock:
            if self._tokenizer is None:
                self._tokenizer = lltokenizer_from_vocab(self._model.vocab)
            return self._tokenizer


class Matcher:
    """The state of a grammar along one sequence."""

    def __init__(self, matcher: LLMatcher, num_vocab: int) -> None:
        self._matcher = matcher
        self._check()
        words = (num_vocab + MASK_BITS - 1) // MASK_BITS
        self._bits = np.zeros(words, dtype=np.uint32)
        self._num_vocab = num_vocab

    def mask(self, logits: np.ndarray) -> None:
        """Forbid in place every token that cannot come next; float32 (num_vocab,)."""
        self._matcher.unsafe_compute_mask_ptr(self._bits.ctypes.data, self._bits.nbytes)
        self._check()
        allowed = np.unpackbits(self._bits.view(np.uint8), bitorder="little")[: self._num_vocab]
        logits[allowed == 0] = -np.inf

    def accept(self, token: int) -> None:
        """Move on by a token that `mask` allowed."""
        self._matcher.consume_token(token)
        self._check()

    def _check(self) -> None:
        if self._matcher.is_error():
            raise BackendError(f"the grammar failed: {self._matcher.get_error()}")
