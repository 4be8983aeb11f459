"""Token sets for tags: the tokens that continue, contain or overrun a tag, by their bytes.

A tag is text such as ``</think>``. It may be one token or several, or start or end inside a
token, so only its bytes and the number of bytes already written count. Sets are cached.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from collections.abc import Set as AbstractSet

MAX_CACHED = 256
BLANK = b"\r\n"


class TagTokens:
    """Bytes of all tokens of a vocabulary, and cached token sets; any thread may call."""

    def __init__(self, pieces: Sequence[bytes], eog: AbstractSet[int]) -> None:
        self.pieces = pieces
        self._eog = eog
        # Guards _cached, also while a set is computed. No other lock is taken while it is held.
        self._lock = threading.Lock()
        self._cached: OrderedDict[tuple[str, bytes], np.ndarray] = OrderedDict()

    @cached_property
    def eog(self) -> np.ndarray:
        """Return the end-of-generation tokens."""
        return np.array(sorted(self._eog), dtype=np.intp)

    def continuing(self, text: bytes) -> np.ndarray:
        """Return the tokens that are a prefix of ``text``, or have it as a prefix."""
        return self._find(
            "continuing", text, lambda piece: text.startswith(piece) or piece.startswith(text)
        )

    def within(self, text: bytes) -> np.ndarray:
        """Return the tokens that are a prefix of ``text``."""
        return self._find("within", text, text.startswith)

    def overrunning(self, text: bytes) -> np.ndarray:
        """Return the tokens that start with ``text`` and continue with more than line ends."""
        return self._find(
            "overrunning",
            text,
            lambda piece: piece.startswith(text) and bool(piece[len(text) :].strip(BLANK)),
        )

    def overrunning_inside(self, tag: bytes) -> np.ndarray:
        """Return the tokens that contain ``tag`` and continue with more than line ends."""
        return self._find(
            "inside",
            tag,
            lambda piece: tag in piece and bool(piece[piece.find(tag) + len(tag) :].strip(BLANK)),
        )

    def _find(self, kind: str, text: bytes, matches: Callable[[bytes], bool]) -> np.ndarray:
        """Return a token set; a set that is not cached takes 20 ms in a large vocabulary."""
        key = (kind, text)
        with self._lock:
            tokens = self._cached.get(key)
            if tokens is None:
                tokens = np.array(
                    [token for token, piece in enumerate(self.pieces) if piece and matches(piece)],
                    dtype=np.intp,
                )
                self._cached[key] = tokens
            self._cached.move_to_end(key)
            if len(self._cached) > MAX_CACHED:
                self._cached.popitem(last=False)
            return tokens


def overlap(text: bytes, tag: bytes) -> int:
    """Return the length of the longest suffix of ``text`` that is a proper prefix of ``tag``."""
    for length in range(min(len(text), len(tag) - 1), 0, -1):
        if text.endswith(tag[:length]):
            return length
    return 0
