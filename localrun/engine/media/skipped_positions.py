"""Skipped positions: by how much indexes of tokens exceed positions in llama.cpp's memory.

All tokens of an image have few positions together in models with M-RoPE: an image of 8 x 6 tokens
takes 8 positions, so that 40 are skipped. Other models skip none. Caches count cells by tokens,
and address them by positions. The chunk that was used longest ago is forgotten beyond `MAX_CHUNKS`;
that is more than a cache has cells for, so it holds none that is forgotten.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_CHUNKS = 1 << 18  # of 4 tokens and more, in a context of a million cells


class SkippedPositions:
    """The chunks of a model that skip positions, by the ids of their first tokens."""

    def __init__(self) -> None:
        self._by_first_id: OrderedDict[int, int] = OrderedDict()  # oldest use first

    def add(self, first_id: int, num_skipped: int) -> None:
        """Add a chunk, or count a use of it; one that skips no position is not remembered."""
        if not num_skipped:
            return
        self._by_first_id[first_id] = num_skipped
        self._by_first_id.move_to_end(first_id)
        if len(self._by_first_id) > MAX_CHUNKS:
            self._by_first_id.popitem(last=False)

    def count(self, tokens: Sequence[int]) -> int:
        """Return how many positions the chunks skip that begin in ``tokens``."""
        if not self._by_first_id or not tokens or min(tokens) >= 0:
            return 0
        skipped = self._by_first_id
        return sum(skipped.get(token, 0) for token in tokens if token < 0)

    def position_at(self, tokens: Sequence[int], index: int) -> int:
        """Return the position of the token at a border of ``tokens``."""
        return index - self.count(tokens[:index]) if self._by_first_id else index


NONE = SkippedPositions()  # of models without M-RoPE; nothing is added to it
