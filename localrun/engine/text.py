"""Text stream: incremental decoding of token bytes, with stop strings.

A `TextStream` holds back what is not certain: the bytes of an incomplete character, and text
that may be the beginning of a stop string. Invariant: however the bytes are split, the
released texts add up to the same.
"""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class TextStream:
    """The text of one sequence."""

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._stops = tuple(stop for stop in stops if stop)
        self._held = ""
        self.num_released = 0  # characters
        self.stop: str | None = None  # the stop string that ended the text

    @property
    def is_stopped(self) -> bool:
        """Return whether a stop string has appeared."""
        return self.stop is not None

    @property
    def num_complete(self) -> int:
        """Return the number of complete characters, if no stop string has appeared."""
        return self.num_released + len(self._held)

    @property
    def num_begun(self) -> int:
        """Return `num_complete` plus one if a character is incomplete."""
        return self.num_complete + bool(self._decoder.getstate()[0])

    def push(self, piece: bytes) -> str:
        """Add a token's bytes; return the text that is certain now."""
        text = self._release(self._decoder.decode(piece))
        self.num_released += len(text)
        return text

    def flush(self) -> str:
        """Return the text held back, at the end of a sequence without a stop string."""
        text = self._release(self._decoder.decode(b"", final=True)) + self._held
        self._held = ""
        self.num_released += len(text)
        return text

    def _release(self, new: str) -> str:
        if self.is_stopped or not self._stops:
            return "" if self.is_stopped else new
        self._held += new
        ends = [
            (start + len(stop), start, stop)
            for stop in self._stops
            if (start := self._held.find(stop)) >= 0
        ]
        if ends:
            # the stop string that ends first, as if characters arrived one by one
            _, start, self.stop = min(ends)
            text, self._held = self._held[:start], ""
            return text
        keep = max(_overlap(self._held, stop) for stop in self._stops)
        text = self._held[: len(self._held) - keep]
        self._held = self._held[len(text) :]
        return text


def _overlap(text: str, stop: str) -> int:
    """Return the length of the longest suffix of ``text`` that is a prefix of ``stop``."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
