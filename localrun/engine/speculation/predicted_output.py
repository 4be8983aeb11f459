"""Guess an answer from a text that its client expects it to be like (OpenAI's ``prediction``).

A file with a few changes is the case: what is not in the prompt too cannot be looked up
there. The guess goes on where the last tokens of the answer stand in the text: right
behind the place of the guess before, or else wherever the text has them last.

    predicted    a b c d e f g h i        answer    a b c X f g h
                               ^ place
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from localrun.engine.sequence import Sequence

GRAM = 3
TRUST = 0.7  # it is said by who knows what was asked
INDEXED_TOKENS = 32768  # an entry takes about 100 bytes


class PredictedOutput:
    """Guesses for sequences that have a predicted text."""

    def __init__(self) -> None:
        self._texts: dict[Sequence, _Text] = {}

    def trust(self, seq: Sequence) -> float | None:
        """Return the share of right tokens to expect, None without a guess."""
        if not seq.predicted:
            return None
        text = self._texts.get(seq)
        if text is None:
            text = self._texts[seq] = _Text(seq.predicted)
        return TRUST if text.find(seq) else None

    def drafts(self, counts: Mapping[Sequence, int]) -> dict[Sequence, tuple[int, ...]]:
        """Return at most so many tokens for each sequence that `trust` has just found some for."""
        return {seq: self._texts[seq].following(number) for seq, number in counts.items()}

    def retire(self, seq: Sequence) -> None:
        """Forget a sequence."""
        self._texts.pop(seq, None)


class _Text:
    """A predicted text, and how far an answer has come in it."""

    def __init__(self, tokens: tuple[int, ...]) -> None:
        self._tokens = tokens[:INDEXED_TOKENS]
        runs = zip(self._tokens, self._tokens[1:], self._tokens[2:], strict=False)
        self._places: dict[tuple[int, ...], int] = {
            run: place for place, run in enumerate(runs, GRAM)
        }
        self._place: int | None = 0  # of the token that comes next
        self._num_generated = 0

    def find(self, seq: Sequence) -> bool:
        """Move to where the answer stands now; return whether the text goes on there."""
        new = seq.num_generated - self._num_generated
        self._num_generated = seq.num_generated
        last = tuple(seq.tokens[-min(GRAM, seq.num_generated) :]) if seq.num_generated else ()
        next_place = None if self._place is None else self._place + new
        if next_place is None or self._tokens[max(0, next_place - len(last)) : next_place] != last:
            next_place = self._places.get(last)
        self._place = next_place
        return next_place is not None and next_place < len(self._tokens)

    def following(self, number: int) -> tuple[int, ...]:
        """Return the tokens from the place on."""
        place = self._place or 0
        return self._tokens[place : place + number]
