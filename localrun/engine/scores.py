"""How likely the drawn tokens were, in step with the text that they make.

A `TokenScore` comes from the raw logits, before bias, penalties, constraint and
temperature. It is given out together with the text that completes the token's
last character. Law: the scores given out are those of the tokens that begin
before the end of the text, in order, each once; the end token has none. Those of a prompt come
before them, where they are wanted: all that are computed, each once, whatever is computed again.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from localrun.engine.params import MOST_TOP

if TYPE_CHECKING:
    from localrun.engine.text import TextStream

LEAST = -9999.0  # in place of minus infinity, which JSON lacks


class TokenScore(NamedTuple):
    """One token; ``top`` are the likeliest ones in its place, the best first."""

    piece: bytes
    logprob: float | None  # None for a text's first token, which nothing comes before
    top: tuple[tuple[bytes, float], ...]


class Scores:
    """The scores of one sequence; ``num_top`` alternatives for each token."""

    def __init__(self, num_top: int, num_prompt: int = 0, *, has_start: bool = False) -> None:
        """Want those of ``num_prompt`` tokens too, of which the text may lack the first."""
        self.num_top = min(num_top, MOST_TOP)
        self.num_weighed = 0  # tokens of the prompt
        self.has_start = has_start
        self._num_prompt = num_prompt
        self._weighed: list[TokenScore] = []  # not given out yet
        self.drawn: deque[TokenScore] = deque()  # by the backend, not taken by the engine yet
        self._held: deque[tuple[int, int, TokenScore]] = deque()  # [start, end) in the text

    @property
    def is_weighing(self) -> bool:
        """Return whether tokens of the prompt still want a score."""
        return self.num_weighed < self._num_prompt

    def weigh(self, score: TokenScore) -> None:
        """Take the score of the prompt's next token."""
        if self.num_weighed or not self.has_start:
            self._weighed.append(score)
        self.num_weighed += 1

    def push(self, text: TextStream, piece: bytes) -> str:
        """Give a drawn token's bytes to its text; return what that returns."""
        start = text.num_complete
        released = text.push(piece)
        self._held.append((start, text.num_begun, self.drawn.popleft()))
        return released

    def release(self, text: TextStream) -> tuple[TokenScore, ...]:
        """Return the scores of what the text has given out since the last time."""
        weighed, self._weighed = tuple(self._weighed), []
        return weighed + self._released(text)

    def _released(self, text: TextStream) -> tuple[TokenScore, ...]:
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
    """Return a token's logarithm of its probability, and the best tokens with theirs.

    ``logits`` has shape (num_vocab,) and is only read.
    """
    peak = logits.max()
    norm = float(peak) + float(np.log(np.exp(logits - peak).sum(dtype=np.float64)))
    best = _best(logits, min(num_top, logits.size))
    return _above(logits[token] - norm), [(int(one), _above(logits[one] - norm)) for one in best]


def _best(logits: np.ndarray, count: int) -> np.ndarray:
    """Return the tokens with the largest logits, the largest first."""
    if count <= 1:  # no partition of the vocabulary
        return np.array([logits.argmax()] if count else [], dtype=np.intp)
    best = np.argpartition(logits, -count)[-count:]
    return best[np.argsort(-logits[best], kind="stable")]


def _above(value: float) -> float:
    return max(float(value), LEAST)
