"""Draft tokens from the text that the client predicts (OpenAI's ``prediction``).

The usual case is a file with a few changes, which is not part of the prompt, so that prompt
lookup cannot find it. A draft continues where the last tokens of the answer occur in the
predicted text: right behind the previous position, or else at their last occurrence.

    predicted    a b c d e f g h i        answer    a b c X f g h
                               ^ position
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from localrun.engine.sequence import Sequence

GRAM = 3
ACCEPTANCE = 0.7  # the client knows its task
MAX_INDEXED_TOKENS = 32768  # an entry takes about 100 bytes


class PredictedOutput:
    """Draft source for sequences with a predicted text."""

    name = "prediction"
    estimates_by_text = True

    def __init__(self) -> None:
        self._texts: dict[Sequence, _Text] = {}

    def acceptance(self, seq: Sequence) -> float | None:
        """Return the expected acceptance rate, or None without a draft."""
        if not seq.predicted:
            return None
        text = self._texts.get(seq)
        if text is None:
            text = self._texts[seq] = _Text(seq.predicted)
        return ACCEPTANCE if text.find(seq) else None

    def drafts(self, lengths: Mapping[Sequence, int]) -> dict[Sequence, tuple[int, ...]]:
        """Return at most ``lengths[seq]`` tokens for each sequence, at its last `acceptance`."""
        return {seq: self._texts[seq].continuation(length) for seq, length in lengths.items()}

    def retire(self, seq: Sequence) -> None:
        """Forget a sequence."""
        self._texts.pop(seq, None)


class _Text:
    """A predicted text, and the position that an answer has reached in it."""

    def __init__(self, tokens: tuple[int, ...]) -> None:
        self._tokens = tokens[:MAX_INDEXED_TOKENS]
        grams = zip(self._tokens, self._tokens[1:], self._tokens[2:], strict=False)
        self._positions: dict[tuple[int, ...], int] = {
            gram: position for position, gram in enumerate(grams, GRAM)
        }
        self._position: int | None = 0  # of the next token
        self._num_generated = 0

    def find(self, seq: Sequence) -> bool:
        """Move to the current position of the answer; return whether the text continues there."""
        num_new = seq.num_generated - self._num_generated
        self._num_generated = seq.num_generated
        last = tuple(seq.tokens[-min(GRAM, seq.num_generated) :]) if seq.num_generated else ()
        position = None if self._position is None else self._position + num_new
        if position is None or self._tokens[max(0, position - len(last)) : position] != last:
            position = self._positions.get(last)
        self._position = position
        return position is not None and position < len(self._tokens)

    def continuation(self, length: int) -> tuple[int, ...]:
        """Return the tokens from the position on."""
        position = self._position or 0
        return self._tokens[position : position + length]
