"""A grammar along one sequence: which tokens may come, and how far it has come.

A matcher never raises: one that breaks, or costs more than its share of the engine's
time, keeps the reason in `failure` and lets nothing but the end through, so that
a bad grammar ends one request and not the runner.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

MASK_BITS = 32
BYTE_BITS = 8
# what a byte of the mask, a bit a token, adds to eight logits
PENALTIES = np.where(
    np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little") == 1,
    np.float32(0),
    np.float32(-np.inf),
).astype(np.float32)
FIRST_S, TOKEN_S = 1.0, 0.01  # CPU time that a grammar may take: at once, and more a token


class GrammarMatcher:
    """The state of a grammar; a fresh one for each sequence."""

    def __init__(self, matcher: LLMatcher, tokenizer: LLTokenizer, eog: np.ndarray) -> None:
        self._matcher = matcher
        self._tokenizer = tokenizer
        self._eog = eog
        self.num_vocab: int = tokenizer.vocab_size
        words = (self.num_vocab + MASK_BITS - 1) // MASK_BITS
        self._bits = np.zeros(words, dtype=np.uint32)
        self._penalties = np.empty((words * MASK_BITS // BYTE_BITS, BYTE_BITS), dtype=np.float32)
        self._left_s = FIRST_S
        self._failure: str | None = None

    @property
    def failure(self) -> str | None:
        """Return why the grammar cannot be held any more, None while it can."""
        return self._failure

    @property
    def is_complete(self) -> bool:
        """Return whether nothing can follow but the end."""
        return bool(self._matcher.is_stopped())

    def mask(self, logits: np.ndarray) -> None:
        """Forbid in place every token that cannot come next; float32 (num_vocab,)."""
        if not self.is_complete:
            begun = time.thread_time()
            self._matcher.unsafe_compute_mask_ptr(self._bits.ctypes.data, self._bits.nbytes)
            self._spend(begun)
        if self._failure or self.is_complete:
            self._note_error()
            logits.fill(-np.inf)
            logits[self._eog[0]] = 0
            return
        places = self._bits.view(np.uint8)
        np.take(PENALTIES, places, axis=0, out=self._penalties, mode="clip")
        logits += self._penalties.reshape(-1)[: logits.size]

    def takes(self, token: int) -> bool:
        """Return whether the token may come next."""
        return bool(self._matcher.validate_tokens([token]) == 1)

    def accept(self, token: int) -> None:
        """Move on by a token."""
        if not self.is_complete:
            begun = time.thread_time()
            self._matcher.consume_token(token)
            self._left_s += TOKEN_S
            self._spend(begun)
            self._note_error()

    def forced(self) -> list[int]:
        """Return tokens that spell what must come next, as far as only one text can."""
        if self._failure or self.is_complete:
            return []
        begun = time.thread_time()
        tokens: list[int] = self._matcher.compute_ff_tokens()
        self._spend(begun)
        return tokens

    def feed(self, text: bytes) -> bool:
        """Move on by text if it fits the grammar; return whether it did."""
        tokens = self._tokenizer.tokenize_bytes(text) if text else []
        fits = not tokens or bool(self._matcher.validate_tokens(tokens) == len(tokens))
        if tokens and fits:
            begun = time.thread_time()
            self._matcher.consume_tokens(tokens)
            self._left_s += TOKEN_S * len(tokens)
            self._spend(begun)
        return fits

    def reset(self) -> None:
        """Go back to the beginning of the grammar."""
        self._matcher.reset()

    def _spend(self, begun: float) -> None:
        self._left_s -= time.thread_time() - begun
        if self._left_s < 0:
            self._failure = "the constraint takes too long to check: make it simpler"

    def _note_error(self) -> None:
        if self._matcher.is_error() and self._failure is None:
            reason = self._matcher.get_error().splitlines()[0]
            self._failure = f"the constraint cannot be held any more: {reason}"
