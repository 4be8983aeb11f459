"""Scores: log-probabilities of tokens, released in step with the text that they spell.

A `TokenScore` is computed from the raw logits, before bias, penalties, constraint and
temperature. It is released together with the text that completes the token's last character.

Invariant: the released scores are those of the tokens that begin before the end of the text,
in order, each once; the end-of-generation token has none. Scores of prompt tokens, if the
request wants them, are released first, each once even if the token is computed again.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from localrun.engine.params import MAX_TOP_LOGPROBS

if TYPE_CHECKING:
    from localrun.engine.text import TextStream

LOWEST_LOGPROB = -9999.0  # replaces minus infinity, which JSON lacks


class TokenScore(NamedTuple):
    """One token; ``top`` are the likeliest tokens at its position, best first."""

    piece: bytes
    logprob: float | None  # None for the first token of a text, which has no context
    top: tuple[tuple[bytes, float], ...]


class Scores:
    """Scores of one sequence, with ``num_top`` alternatives for each token."""

    def __init__(self, num_top: int, num_prompt: int = 0, *, has_start: bool = False) -> None:
        """Score ``num_prompt`` tokens of the prompt too.

        ``has_start``: the first of them is a BOS token, which gets no score.
        """
        self.num_top = min(num_top, MAX_TOP_LOGPROBS)
        self.num_prompt_scored = 0  # tokens of the prompt
        self.has_start = has_start
        self._num_prompt = num_prompt
        self._prompt_scores: list[TokenScore] = []  # not released yet
        self.sampled: deque[TokenScore] = deque()  # from the backend, not yet in the text
        self._held: deque[tuple[int, int, TokenScore]] = deque()  # [start, end) in the text

    @property
    def needs_prompt(self) -> bool:
        """Return whether tokens of the prompt still have to be scored."""
        return self.num_prompt_scored < self._num_prompt

    def add_prompt_score(self, score: TokenScore) -> None:
        """Add the score of the prompt's next token."""
        if self.num_prompt_scored or not self.has_start:
            self._prompt_scores.append(score)
        self.num_prompt_scored += 1

    def push(self, text: TextStream, piece: bytes) -> str:
        """Push a sampled token's bytes to its text; return the released text."""
        start = text.num_complete
        released = text.push(piece)
        self._held.append((start, text.num_begun, self.sampled.popleft()))
        return released

    def release(self, text: TextStream) -> tuple[TokenScore, ...]:
        """Return the scores of the text that was released since the last call."""
        prompt_scores, self._prompt_scores = tuple(self._prompt_scores), []
        return prompt_scores + self._release_held(text)

    def _release_held(self, text: TextStream) -> tuple[TokenScore, ...]:
        if text.is_stopped:  # a token may begin before the stop string and end in it
            held = [score for start, _, score in self._held if start < text.num_released]
            self._held.clear()
            return tuple(held)
        released = []
        while self._held and self._held[0][1] <= text.num_released:
            released.append(self._held.popleft()[2])
        return tuple(released)


def log_probabilities(
    logits: np.ndarray, token: int, num_top: int
) -> tuple[float, list[tuple[int, float]]]:
    """Return a token's log-probability, and the ``num_top`` likeliest tokens with theirs.

    ``logits`` has shape (num_vocab,) and is only read.
    """
    peak = logits.max()
    norm = float(peak) + float(np.log(np.exp(logits - peak).sum(dtype=np.float64)))
    best = _best(logits, min(num_top, logits.size))
    return _finite(logits[token] - norm), [(int(one), _finite(logits[one] - norm)) for one in best]


def _best(logits: np.ndarray, count: int) -> np.ndarray:
    """Return the tokens with the largest logits, the largest first."""
    if count <= 1:  # no partition of the vocabulary
        return np.array([logits.argmax()] if count else [], dtype=np.intp)
    best = np.argpartition(logits, -count)[-count:]
    return best[np.argsort(-logits[best], kind="stable")]


def _finite(logprob: float) -> float:
    return max(float(logprob), LOWEST_LOGPROB)
