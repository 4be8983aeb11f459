"""Guess how a sequence goes on from what stands in it already.

Text that is copied, such as code with one change, a quotation, a table, repeats runs of
tokens. The index knows where each run of `GRAM` tokens was seen last, so that a guess
costs the same in a long text as in a short one. Only hashes are kept: a wrong guess
is found out anyhow.

    tokens    [ ........ a b c d e f ........ a b c ]
                               ^ found               -> d e f ...
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from localrun.engine.sequence import Sequence

GRAM = 3
LONGEST_MATCH = 16  # tokens that are compared to see how much to trust a place
INDEXED_TOKENS = 32768  # of a prompt, the last ones; an entry takes about 100 bytes


class PromptLookup:
    """Guesses from each sequence's own tokens."""

    def __init__(self) -> None:
        self._indexes: dict[Sequence, _Index] = {}

    def trust(self, seq: Sequence) -> float | None:
        """Return the share of right tokens to expect, None without a guess."""
        index = self._indexes.get(seq)
        if index is None or index.num_dropped != seq.num_dropped:
            index = self._indexes[seq] = _Index(seq.tokens, seq.num_dropped)
        index.update()
        if index.place is None:
            return None
        return 1 - 1 / index.match_length()

    def drafts(self, counts: Mapping[Sequence, int]) -> dict[Sequence, tuple[int, ...]]:
        """Return so many tokens for each sequence that `trust` has just found a place for."""
        return {seq: self._indexes[seq].following(number) for seq, number in counts.items()}

    def retire(self, seq: Sequence) -> None:
        """Forget a sequence."""
        self._indexes.pop(seq, None)


class _Index:
    """Where each run of tokens in a growing list was seen last."""

    def __init__(self, tokens: list[int], num_dropped: int) -> None:
        self.num_dropped = num_dropped  # before it was made; a later shift moves all places
        self._tokens = tokens
        self._num_indexed = len(tokens)  # runs that end before this token are known
        self.place: int | None = None  # of the token behind the run that the list ends with
        first = max(0, len(tokens) - INDEXED_TOKENS)
        recent = tokens[first:]
        runs: Iterable[tuple[int, ...]] = zip(recent, recent[1:], recent[2:-1], strict=False)
        self._places = dict(zip(map(hash, runs), count(first + GRAM), strict=False))
        self._find()

    def update(self) -> None:
        """Take in the tokens that came since."""
        for end in range(self._num_indexed, len(self._tokens)):
            if end >= GRAM:
                self._places[self._key(end)] = end
        if self._num_indexed < len(self._tokens):
            self._num_indexed = len(self._tokens)
            self._find()

    def match_length(self) -> int:
        """Return how many tokens before the place equal the end of the list."""
        place, tokens = self.place or 0, self._tokens
        length = 0
        while length < min(LONGEST_MATCH, place) and tokens[place - 1 - length] == tokens[~length]:
            length += 1
        return max(1, length)

    def following(self, number: int) -> tuple[int, ...]:
        """Return the tokens behind the place; beyond the end of the list they repeat."""
        place, end = self.place or 0, len(self._tokens)
        return tuple(self._tokens[place + step % (end - place)] for step in range(number))

    def _find(self) -> None:
        self.place = self._places.get(self._key(len(self._tokens)))

    def _key(self, end: int) -> int:
        return hash(tuple(self._tokens[end - GRAM : end] if end >= GRAM else ()))
