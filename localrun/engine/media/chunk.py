"""Chunks of media: parts of an image or a sound that are encoded and computed as one.

    text ... | chunk: num_tokens ids, num_positions positions | text ...

A chunk has either its input (pixels or samples inside libmtmd) or its embeddings. Sequences hold
chunks; a chunk is freed with the last sequence that holds it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkKey:
    """Identity of a chunk: the digest of pixels or samples, and its number within the medium."""

    digest: bytes
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkShape:
    """How a chunk stands in a sequence."""

    num_tokens: int
    num_positions: int  # fewer than tokens if the model has M-RoPE
    is_causal: bool  # else its tokens see each other, and are computed in one batch of their own
    # position of each token, shape (positions of a token, num_tokens), at first position 0; and
    # for each row whether the first position is added to it
    offsets: np.ndarray
    moves: tuple[bool, ...]

    @property
    def has_mrope(self) -> bool:
        """Return whether a token has several positions (M-RoPE)."""
        return len(self.moves) > 1

    def positions(self, first: int, start: int, end: int) -> np.ndarray:
        """Return the positions of tokens [start, end) of a chunk at position ``first``."""
        import numpy as np  # lazy: the warm process imports this module, and waits with numpy

        moves = np.array(self.moves, dtype=np.int32)
        moved: np.ndarray = self.offsets[:, start:end] + first * moves[:, None]
        return moved


class ChunkInput(Protocol):
    """Pixels or samples of a chunk inside libmtmd."""


@dataclass(slots=True, eq=False, kw_only=True, weakref_slot=True)
class MediaChunk:
    """A chunk with its ids, and with its input or its embeddings."""

    key: ChunkKey
    shape: ChunkShape
    ids: list[int]
    source: ChunkInput | None = None  # None once it is encoded
    embeddings: np.ndarray | None = None  # float32, shape (num_tokens, width of an input)

    @property
    def num_tokens(self) -> int:
        """Return the number of its tokens."""
        return self.shape.num_tokens

    @property
    def num_skipped(self) -> int:
        """Return how many positions fewer than tokens it has."""
        return self.shape.num_tokens - self.shape.num_positions
