"""From token bytes to text, as it comes: whole characters, and nothing of a stop string.

A `TextStream` holds back what may still turn out otherwise: the bytes of a
character that is not complete, and text that may be the beginning of a stop
string. Law: however the bytes are cut, the texts add up to the same.
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
        self.num_released = 0  # characters given out
        self.stop: str | None = None  # the stop string that ended it

    @property
    def is_stopped(self) -> bool:
        """Return whether a stop string has come."""
        return self.stop is not None

    @property
    def num_complete(self) -> int:
        """Return the number of characters whose bytes are all there, while nothing stopped it."""
        return self.num_released + len(self._held)

    @property
    def num_begun(self) -> int:
        """Return the same with the character that is not complete."""
        return self.num_complete + bool(self._decoder.getstate()[0])

    def push(self, piece: bytes) -> str:
        """Take a token's bytes and return the text that is certain now."""
        text = self._release(self._decoder.decode(piece))
        self.num_released += len(text)
        return text

    def flush(self) -> str:
        """Return what was held back, at the end of a sequence that no stop string ended."""
        text = self._release(self._decoder.decode(b"", final=True)) + self._held
        self._held = ""
        self.num_released += len(text)
        return text

    def _release(self, new: str) -> str:
        if self.is_stopped or not self._stops:
            return "" if self.is_stopped else new
        self._held += new
        ends = [
            (place + len(stop), place, stop)
            for stop in self._stops
            if (place := self._held.find(stop)) >= 0
        ]
        if ends:
            # the one that is complete first, as if characters came singly
            _, place, self.stop = min(ends)
            text, self._held = self._held[:place], ""
            return text
        keep = max(_overlap(self._held, stop) for stop in self._stops)
        text = self._held[: len(self._held) - keep]
        self._held = self._held[len(text) :]
        return text


def _overlap(text: str, stop: str) -> int:
    """Return the length of the longest end of ``text`` that ``stop`` begins with."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
