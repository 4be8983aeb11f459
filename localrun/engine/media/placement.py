"""Media of one sequence: which chunks stand where among its tokens.

    tokens      [ text | chunk | text | chunk | text ]

The position of a token is its index less the positions that the chunks before it skip. The tiles of
an image are chunks with a few tokens of text between them: a run, which may be computed together,
the last one with the question behind it.

Only sequences with media have one. The chunks and their places never change; a context shift makes
another one, maybe without chunks. Each step asks, so that no question walks through all chunks.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.engine.media.chunk import MediaChunk

MAX_TEXT_BETWEEN = 32  # tokens between two tiles; more are computed as text
MAX_TEXT_BEHIND = 128  # tokens of text behind the last chunk that are computed with it


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
        """``joins_tiles``: tiles and the text between and behind them are computed together."""
        self.chunks = tuple(chunks)
        self._joins_tiles = joins_tiles
        self._ends = [placed.end for placed in self.chunks]
        # positions that the chunks before each one skip, and at last all of them
        self._skipped = [0, *accumulate(placed.chunk.num_skipped for placed in self.chunks)]
        self._last_ends = {placed.chunk: placed.end for placed in self.chunks}
        self._encoded = range(0)  # chunks that are known to be encoded, found by the last search

    @property
    def num_skipped(self) -> int:
        """Return how many positions fewer than tokens all chunks have."""
        return self._skipped[-1]

    @property
    def end(self) -> int:
        """Return the index behind the last chunk, from which on all tokens are text."""
        return self._ends[-1] if self._ends else 0

    def position_at(self, index: int) -> int:
        """Return the position of the token at an index.

        All tokens of an image with M-RoPE begin at one position; within, it is that behind them.
        """
        number = self._first_behind(index)
        position = index - self._skipped[number]
        if number == len(self.chunks):
            return position
        placed = self.chunks[number]
        if placed.start < index and placed.chunk.shape.has_mrope:
            return position - (index - placed.start) + placed.chunk.shape.num_positions
        return position

    def at(self, index: int) -> PlacedChunk | None:
        """Return the chunk that the token at an index belongs to, or None."""
        number = self._first_behind(index)
        if number == len(self.chunks) or self.chunks[number].start > index:
            return None
        return self.chunks[number]

    def run_at(self, index: int) -> tuple[PlacedChunk, ...]:
        """Return the chunks of the run from the token at an index on; empty if it is text."""
        placed = self.at(index)
        if placed is None:
            return ()
        run = [placed]
        for number in range(self._first_behind(index) + 1, len(self.chunks)):
            if not (self._joins_tiles and _are_tiles(run[-1], self.chunks[number])):
                break
            run.append(self.chunks[number])
        return tuple(run)

    def run_end(self, run: Sequence[PlacedChunk], num_tokens: int) -> int:
        """Return the index behind what is computed with a run, of a sequence of so many tokens."""
        end = run[-1].end
        joins = self._joins_tiles and _is_plain(run[-1].chunk)
        is_short = end == self.end and num_tokens - end <= MAX_TEXT_BEHIND
        return num_tokens if joins and is_short else end

    def num_text_from(self, index: int) -> int | None:
        """Return how many tokens of text stand at an index before a chunk; None: all others."""
        number = self._first_behind(index)
        return None if number == len(self.chunks) else max(0, self.chunks[number].start - index)

    def missing_behind(self, index: int) -> MediaChunk | None:
        """Return the first chunk that ends behind an index and is not encoded, or None."""
        first = number = self._first_behind(index)
        if first in self._encoded:  # what is encoded stays so
            first, number = self._encoded.start, self._encoded.stop
        while number < len(self.chunks) and self.chunks[number].chunk.embeddings is not None:
            number += 1
        self._encoded = range(first, number)
        return None if number == len(self.chunks) else self.chunks[number].chunk

    def has_behind(self, index: int, chunk: MediaChunk) -> bool:
        """Return whether a chunk ends behind an index."""
        return self._last_ends.get(chunk, 0) > index

    def without(self, first: int, end: int) -> SequenceMedia:
        """Return the media after tokens [first, end) were dropped, borders both; maybe none."""
        kept = [placed for placed in self.chunks if placed.end <= first]
        moved = [
            PlacedChunk(placed.start - (end - first), placed.chunk)
            for placed in self.chunks
            if placed.start >= end
        ]
        return SequenceMedia(kept + moved, joins_tiles=self._joins_tiles)

    def _first_behind(self, index: int) -> int:
        """Return the number of the first chunk that ends behind an index, or that of all chunks."""
        return bisect_right(self._ends, index)


def _are_tiles(placed: PlacedChunk, following: PlacedChunk) -> bool:
    """Return whether two chunks are parts of one image that may be in one batch."""
    chunk, other = placed.chunk, following.chunk
    is_one_image = chunk.key.digest == other.key.digest and other.key.index == chunk.key.index + 1
    is_near = following.start - placed.end <= MAX_TEXT_BETWEEN
    return is_one_image and _is_plain(chunk) and is_near


def _is_plain(chunk: MediaChunk) -> bool:
    """Return whether a chunk may have text in its batch."""
    return chunk.shape.is_causal and not chunk.shape.has_mrope
