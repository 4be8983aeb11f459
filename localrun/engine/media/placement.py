"""Media of one sequence: which chunks stand where among its tokens.

    tokens      [ text | chunk | text | chunk | text ]

The position of a token is its index less the positions that the chunks before it skip. The tiles of
an image are chunks with a few tokens of text between them: a run, which may be computed together.

Only sequences with media have one. Immutable; a context shift makes another, maybe without chunks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.engine.media.chunk import MediaChunk


MAX_TEXT_BETWEEN = 32  # tokens between two tiles; more are computed as text


@dataclass(frozen=True, slots=True)
class PlacedChunk:
    """A chunk whose first token is at index ``start`` of a sequence."""

    start: int
    chunk: MediaChunk

    @property
    def end(self) -> int:
        """Return the index behind its last token."""
        return self.start + self.chunk.num_tokens


class SequenceMedia:
    """The chunks of a sequence in their order."""

    def __init__(self, chunks: Sequence[PlacedChunk], *, joins_tiles: bool = False) -> None:
        """``joins_tiles``: the tiles of an image and the text between them are one run."""
        self.chunks = tuple(chunks)
        self._joins_tiles = joins_tiles
        self.num_skipped = sum(placed.chunk.num_skipped for placed in self.chunks)
        self._end = max((placed.end for placed in self.chunks), default=0)  # behind it is text

    def position_at(self, index: int) -> int:
        """Return the position of the token at an index.

        All tokens of an image with M-RoPE begin at one position; within, it is that behind them.
        """
        if index >= self._end:
            return index - self.num_skipped
        num_skipped = 0
        for placed in self.chunks:
            if placed.end <= index:
                num_skipped += placed.chunk.num_skipped
            elif placed.start < index and placed.chunk.shape.has_mrope:
                return placed.start - num_skipped + placed.chunk.shape.num_positions
        return index - num_skipped

    def at(self, index: int) -> PlacedChunk | None:
        """Return the chunk that the token at an index belongs to, or None."""
        return next((one for one in self.chunks if one.start <= index < one.end), None)

    def run_at(self, index: int) -> tuple[PlacedChunk, ...]:
        """Return the chunks of the run from the token at an index on; empty if it is text."""
        if index >= self._end:
            return ()
        number = next(at for at, one in enumerate(self.chunks) if one.end > index)
        if self.chunks[number].start > index:
            return ()
        run = [self.chunks[number]]
        for placed in self.chunks[number + 1 :] if self._joins_tiles else ():
            if not _are_tiles(run[-1], placed):
                break
            run.append(placed)
        return tuple(run)

    def num_text_from(self, index: int) -> int | None:
        """Return how many tokens of text stand at an index before a chunk; None: all others."""
        if index >= self._end:
            return None
        behind = next(placed for placed in self.chunks if placed.end > index)
        return max(0, behind.start - index)

    def missing_behind(self, index: int) -> MediaChunk | None:
        """Return the first chunk that ends behind an index and is not encoded, or None."""
        for placed in self.chunks if index < self._end else ():
            if placed.end > index and placed.chunk.embeddings is None:
                return placed.chunk
        return None

    def has_behind(self, index: int, chunk: MediaChunk) -> bool:
        """Return whether a chunk ends behind an index."""
        return any(placed.chunk is chunk and placed.end > index for placed in self.chunks)

    def without(self, first: int, end: int) -> SequenceMedia:
        """Return the media after tokens [first, end) were dropped, borders both; maybe none."""
        kept = [placed for placed in self.chunks if placed.end <= first]
        moved = [
            PlacedChunk(placed.start - (end - first), placed.chunk)
            for placed in self.chunks
            if placed.start >= end
        ]
        return SequenceMedia(kept + moved, joins_tiles=self._joins_tiles)


def _are_tiles(placed: PlacedChunk, following: PlacedChunk) -> bool:
    """Return whether two chunks are parts of one image that may be in one batch."""
    chunk, other = placed.chunk, following.chunk
    is_one_image = chunk.key.digest == other.key.digest and other.key.index == chunk.key.index + 1
    is_plain = chunk.shape.is_causal and not chunk.shape.has_mrope
    return is_one_image and is_plain and following.start - placed.end <= MAX_TEXT_BETWEEN
