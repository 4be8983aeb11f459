"""Which tokens touch a tag: found by their bytes, once a model for each question.

A tag is text such as ``</think>``. It may be one token, several, or begin or end
inside one, so what matters is its bytes and how many of them have been written.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MOST_KEPT = 256
BLANK = b"\r\n"


class TagTokens:
    """The bytes of all tokens; any thread may ask."""

    def __init__(self, pieces: Sequence[bytes], eog: frozenset[int]) -> None:
        self.pieces = pieces
        self.eog = np.array(sorted(eog), dtype=np.intp)
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, bytes], np.ndarray] = OrderedDict()

    def continuing(self, rest: bytes) -> np.ndarray:
        """Return the tokens that are the beginning of ``rest``, or begin with all of it."""
        return self._find(
            "continuing", rest, lambda piece: rest.startswith(piece) or piece.startswith(rest)
        )

    def within(self, rest: bytes) -> np.ndarray:
        """Return the tokens that are the beginning of ``rest``, or all of it."""
        return self._find("within", rest, rest.startswith)

    def overrunning(self, rest: bytes) -> np.ndarray:
        """Return the tokens that begin with ``rest`` and go on with more than line ends."""
        return self._find(
            "overrunning",
            rest,
            lambda piece: piece.startswith(rest) and bool(piece[len(rest) :].strip(BLANK)),
        )

    def overrunning_inside(self, tag: bytes) -> np.ndarray:
        """Return the tokens that hold all of ``tag`` and go on with more than line ends."""
        return self._find(
            "inside",
            tag,
            lambda piece: tag in piece and bool(piece[piece.find(tag) + len(tag) :].strip(BLANK)),
        )

    def _find(self, kind: str, text: bytes, is_meant: Callable[[bytes], bool]) -> np.ndarray:
        """Look at every token, some 20 ms in a large vocabulary, unless it was done before."""
        key = (kind, text)
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                found = np.array(
                    [token for token, piece in enumerate(self.pieces) if piece and is_meant(piece)],
                    dtype=np.intp,
                )
                self._kept[key] = found
            self._kept.move_to_end(key)
            if len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
            return found


def overlap(text: bytes, tag: bytes) -> int:
    """Return the length of the longest end of ``text`` that is a part of ``tag`` from its start."""
    for length in range(min(len(text), len(tag) - 1), 0, -1):
        if text.endswith(tag[:length]):
            return length
    return 0
