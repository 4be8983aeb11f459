"""Draft tokens from the sequence's own earlier tokens (prompt lookup, n-gram drafting).

Copied text, such as code with one change, a quotation or a table, repeats runs of tokens. The
index maps each n-gram of `GRAM` tokens to its last occurrence, so that a draft costs the same in
a long text as in a short one. Only hashes are stored: a draft from a hash collision is rejected
like any other wrong draft.

    tokens    [ ........ a b c d e f ........ a b c ]
                               ^ position            -> d e f ...
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from localrun.engine.sequence import Sequence

GRAM = 3
LONGEST_MATCH = 16  # tokens that are compared to estimate the acceptance
MAX_INDEXED_TOKENS = 32768  # the last ones of a prompt; an entry takes about 100 bytes


class PromptLookup:
    """Draft source that copies from each sequence's own tokens."""

    name = "prompt lookup"
    estimates_by_text = True

    def __init__(self) -> None:
        self._indexes: dict[Sequence, _Index] = {}

    def acceptance(self, seq: Sequence) -> float | None:
        """Return the expected acceptance rate, or None without a draft."""
        index = self._indexes.get(seq)
        if index is None or index.num_dropped != seq.num_dropped:
            first = seq.media.end if seq.media else 0  # media are not copied
            index = self._indexes[seq] = _Index(seq.tokens, seq.num_dropped, first)
        index.update()
        if index.position is None:
            return None
        return 1 - 1 / index.match_length()

    def drafts(self, lengths: Mapping[Sequence, int]) -> dict[Sequence, tuple[int, ...]]:
        """Return ``lengths[seq]`` tokens for each sequence, at its last `acceptance`."""
        return {seq: self._indexes[seq].continuation(length) for seq, length in lengths.items()}

    def retire(self, seq: Sequence) -> None:
        """Forget a sequence."""
        self._indexes.pop(seq, None)


class _Index:
    """Last occurrence of each n-gram in a growing list of tokens."""

    def __init__(self, tokens: list[int], num_dropped: int, first: int = 0) -> None:
        self.num_dropped = num_dropped  # at construction; a later shift moves all positions
        self._tokens = tokens
        self._num_indexed = len(tokens)  # n-grams that end before this token are indexed
        self.position: int | None = None  # behind the earlier occurrence of the last n-gram
        first = max(first, len(tokens) - MAX_INDEXED_TOKENS)
        recent = tokens[first:]
        grams: Iterable[tuple[int, ...]] = zip(recent, recent[1:], recent[2:-1], strict=False)
        self._positions = dict(zip(map(hash, grams), count(first + GRAM), strict=False))
        self._find()

    def update(self) -> None:
        """Index the tokens that were added."""
        for end in range(self._num_indexed, len(self._tokens)):
            if end >= GRAM:
                self._positions[self._key(end)] = end
        if self._num_indexed < len(self._tokens):
            self._num_indexed = len(self._tokens)
            self._find()

    def match_length(self) -> int:
        """Return how many tokens before the position equal the last tokens of the list."""
        position, tokens = self.position or 0, self._tokens
        limit = min(LONGEST_MATCH, position)
        length = 0
        while length < limit and tokens[position - 1 - length] == tokens[~length]:
            length += 1
        return max(1, length)

    def continuation(self, length: int) -> tuple[int, ...]:
        """Return the tokens from the position on; at the end of the list they repeat."""
        position, end = self.position or 0, len(self._tokens)
        return tuple(self._tokens[position + step % (end - position)] for step in range(length))

    def _find(self) -> None:
        self.position = self._positions.get(self._key(len(self._tokens)))

    def _key(self, end: int) -> int:
        return hash(tuple(self._tokens[end - GRAM : end] if end >= GRAM else ()))
