"""Grammar state of one sequence: the mask of allowed tokens, and accepted tokens.

A matcher never raises. If the grammar breaks, or takes more than its share of the engine's time,
the matcher records the reason in `failure` and allows only the end token, so that a bad grammar
ends one request and not the runner.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

MASK_BITS = 32
BYTE_BITS = 8
# the summands of eight logits for each byte of the mask, which has one bit per token
PENALTIES = np.where(
    np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little") == 1,
    np.float32(0),
    np.float32(-np.inf),
).astype(np.float32)
FIRST_S, TOKEN_S = 1.0, 0.01  # CPU time that a grammar may take: initially, and more per token


class GrammarMatcher:
    """Constraint by one grammar; each sequence has its own matcher."""

    def __init__(self, matcher: LLMatcher, tokenizer: LLTokenizer, eog: np.ndarray) -> None:
        self._matcher = matcher
        self._tokenizer = tokenizer
        self._eog = eog
        self.num_vocab: int = tokenizer.vocab_size
        words = (self.num_vocab + MASK_BITS - 1) // MASK_BITS
        self._bits = np.zeros(words, dtype=np.uint32)
        self._penalties = np.empty((words * MASK_BITS // BYTE_BITS, BYTE_BITS), dtype=np.float32)
        self._remaining_s = FIRST_S
        self._failure: str | None = None

    @property
    def failure(self) -> str | None:
        """Return why the grammar can no longer be enforced, or None if it can."""
        return self._failure

    @property
    def is_complete(self) -> bool:
        """Return whether only the end token may follow."""
        return bool(self._matcher.is_stopped())

    def mask(self, logits: np.ndarray) -> None:
        """Forbid in place every token that the grammar does not allow; float32 (num_vocab,)."""
        if not self.is_complete:
            started_at = time.thread_time()
            self._matcher.unsafe_compute_mask_ptr(self._bits.ctypes.data, self._bits.nbytes)
            self._spend(started_at)
        if self._failure or self.is_complete:
            self._record_error()
            logits.fill(-np.inf)
            logits[self._eog[0]] = 0
            return
        mask_bytes = self._bits.view(np.uint8)
        np.take(PENALTIES, mask_bytes, axis=0, out=self._penalties, mode="clip")
        logits += self._penalties.reshape(-1)[: logits.size]

    def allows(self, token: int) -> bool:
        """Return whether the token may come next."""
        return bool(self._matcher.validate_tokens([token]) == 1)

    def accept(self, token: int) -> None:
        """Advance by a token."""
        if not self.is_complete:
            started_at = time.thread_time()
            self._matcher.consume_token(token)
            self._remaining_s += TOKEN_S
            self._spend(started_at)
            self._record_error()

    def forced(self) -> list[int]:
        """Return the tokens of the only text that the grammar allows next; may be empty."""
        if self._failure or self.is_complete:
            return []
        started_at = time.thread_time()
        tokens: list[int] = self._matcher.compute_ff_tokens()
        self._spend(started_at)
        return tokens

    def feed(self, text: bytes) -> bool:
        """Advance by text if the grammar allows it; return whether it does."""
        tokens = self._tokenizer.tokenize_bytes(text) if text else []
        fits = not tokens or bool(self._matcher.validate_tokens(tokens) == len(tokens))
        if tokens and fits:
            started_at = time.thread_time()
            self._matcher.consume_tokens(tokens)
            self._remaining_s += TOKEN_S * len(tokens)
            self._spend(started_at)
        return fits

    def reset(self) -> None:
        """Return to the initial state of the grammar."""
        self._matcher.reset()

    def _spend(self, started_at: float) -> None:
        self._remaining_s -= time.thread_time() - started_at
        if self._remaining_s < 0:
            self._failure = "the constraint takes too long to check: make it simpler"

    def _record_error(self) -> None:
        if self._matcher.is_error() and self._failure is None:
            reason = self._matcher.get_error().splitlines()[0]
            self._failure = f"the constraint can no longer be enforced: {reason}"
