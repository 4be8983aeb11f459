"""Draft tokens from earlier answers of the same model (n-gram drafting across requests).

Answers of one model name repeat each other: the same JSON keys, the same file with another edit.
The index maps each n-gram of `GRAM` tokens to its last occurrence in an answer that has ended.
Answers of other names are never read: several models may share weights, and so a runner. At most
`MAX_TOKENS` tokens are kept, those of the latest answers.

    earlier answer    [ .... a b c d e f ... ]
                                  ^ place            answer    [ ... a b c ]  ->  d e f ...
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from localrun.engine.sequence import Sequence

GRAM = 3
LONGEST_MATCH = 16  # tokens that are compared to estimate the acceptance
MAX_ANSWER = 4096  # last tokens of an answer that are kept
MAX_TOKENS = 32768  # of all answers; an index entry takes about 150 bytes


@dataclass(frozen=True, slots=True)
class _Answer:
    """Tokens of an answer that has ended."""

    tokens: list[int]
    model_name: str


@dataclass(frozen=True, slots=True)
class _Place:
    """The position behind an n-gram in an answer."""

    answer: int  # its number
    position: int


class EarlierAnswers:
    """Draft source that copies from the answers of requests that have ended."""

    name = "earlier answers"
    estimates_by_text = True

    def __init__(self, max_tokens: int = MAX_TOKENS) -> None:
        self._max_tokens = max_tokens
        self._answers: dict[int, _Answer] = {}  # by number, oldest first
        self._places: dict[int, _Place] = {}  # by the hash of model name and n-gram
        self._num_tokens = 0
        self._numbers = count()
        self._found: dict[Sequence, _Place] = {}

    def acceptance(self, seq: Sequence) -> float | None:
        """Return the expected acceptance rate, or None without a draft."""
        if seq.num_generated < GRAM or not self._answers:
            return None
        place = self._places.get(_key(seq.model_name, seq.tokens[-GRAM:]))
        if place is None:
            return None
        answer = self._answers[place.answer]
        # a hash collision is not a match, nor is the same n-gram of another model
        if answer.model_name != seq.model_name or place.position >= len(answer.tokens):
            return None
        length = _match_length(answer.tokens, place.position, seq.tokens)
        if not length:
            return None
        self._found[seq] = place
        return 1 - 1 / length

    def drafts(self, lengths: Mapping[Sequence, int]) -> dict[Sequence, tuple[int, ...]]:
        """Return at most ``lengths[seq]`` tokens for each sequence, at its last `acceptance`."""
        drafts = {}
        for seq, length in lengths.items():
            place = self._found[seq]
            tokens = self._answers[place.answer].tokens
            drafts[seq] = tuple(tokens[place.position : place.position + length])
        return drafts

    def retire(self, seq: Sequence) -> None:
        """Keep the answer of a sequence that ended; it must have finished, not been dropped."""
        self._found.pop(seq, None)
        length = min(seq.num_generated, len(seq.tokens), MAX_ANSWER)
        if seq.finish is None or length <= GRAM:
            return
        self._add(_Answer(seq.tokens[-length:], seq.model_name))

    def _add(self, answer: _Answer) -> None:
        number = next(self._numbers)
        self._answers[number] = answer
        self._num_tokens += len(answer.tokens)
        for end in range(GRAM, len(answer.tokens)):
            key = _key(answer.model_name, answer.tokens[end - GRAM : end])
            self._places[key] = _Place(number, end)
        while self._num_tokens > self._max_tokens:
            self._evict_oldest()

    def _evict_oldest(self) -> None:
        number = next(iter(self._answers))
        answer = self._answers.pop(number)
        self._num_tokens -= len(answer.tokens)
        for end in range(GRAM, len(answer.tokens)):
            key = _key(answer.model_name, answer.tokens[end - GRAM : end])
            place = self._places.get(key)
            if place is not None and place.answer == number:
                del self._places[key]
        self._found.clear()  # places in this answer; they are looked up again at each step


def _key(model_name: str, gram: list[int]) -> int:
    return hash((model_name, *gram))


def _match_length(answer: list[int], position: int, tokens: list[int]) -> int:
    """Return how many tokens before the position equal the last tokens of a sequence."""
    limit = min(LONGEST_MATCH, position, len(tokens))
    length = 0
    while length < limit and answer[position - 1 - length] == tokens[~length]:
        length += 1
    return length
