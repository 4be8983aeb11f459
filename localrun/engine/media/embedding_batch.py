"""Embedding batch: a llama_batch of media embeddings, the input of one decode call.

    embeddings   (num_tokens, width), one chunk's part after the other
    positions    (positions of a token, num_tokens), one row after the other; M-RoPE has four rows

llama.cpp takes either tokens or embeddings in a call, so media have batches of their own, with the
text between tiles and a short text behind them as embeddings. A chunk
that is not causal is alone in its batch, and whole: its tokens see each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from localrun.engine.batch import BatchArrays
from localrun.engine.sequence import slot_of

if TYPE_CHECKING:
    from llama_cpp import llama_cpp as api

    from localrun.engine.media.placement import PlacedChunk
    from localrun.engine.media.text_rows import TextRows
    from localrun.engine.scheduler import ScheduledChunk
    from localrun.engine.sequence import Sequence


class EmbeddingBatch:
    """The arrays of one step; they must live until llama.cpp has computed it."""

    def __init__(self, chunks: list[ScheduledChunk], rows: TextRows | None = None) -> None:
        """Build the batch of scheduled parts of media; ``rows`` are for text.

        Raises:
            ValueError: a part is no medium, is not encoded, or exceeds its run.
        """
        ordered = sorted(chunks, key=lambda chunk: slot_of(chunk.seq))
        total = sum(chunk.num_tokens for chunk in ordered)
        parts = [_Part(chunk, rows) for chunk in ordered]
        self.is_causal = all(part.is_causal for part in parts)
        if not self.is_causal and not (len(parts) == 1 and parts[0].is_whole):
            raise ValueError("a chunk that is not causal is not alone or not whole in its batch")
        self._arrays = BatchArrays(
            total,
            has_tokens=False,
            embeddings=np.ascontiguousarray(np.concatenate([p.embeddings for p in parts])),
            positions=np.ascontiguousarray(np.concatenate([p.positions for p in parts], axis=1)),
        )
        slots = [slot_of(chunk.seq) for chunk in ordered]
        self._arrays.seq_ids[:] = np.repeat(slots, [chunk.num_tokens for chunk in ordered])
        self._arrays.native.n_tokens = total
        self.outputs: list[tuple[ScheduledChunk, int]] = []  # of prompts that end with a medium
        self._mark_outputs(chunks, ordered)

    @property
    def native(self) -> api.llama_batch:
        """Return the llama_batch."""
        return self._arrays.native

    def _mark_outputs(self, chunks: list[ScheduledChunk], ordered: list[ScheduledChunk]) -> None:
        """Ask for logits at the last token of each chunk behind which nothing is pending."""
        ends = np.cumsum([chunk.num_tokens for chunk in ordered])
        last = {chunk.seq: int(end) - 1 for chunk, end in zip(ordered, ends, strict=True)}
        self.outputs = [(chunk, last[chunk.seq]) for chunk in chunks if chunk.is_last]
        for _, index in self.outputs:
            self._arrays.logits[index] = 1


class _Part:
    """A scheduled part of one chunk or of a run of tiles: its embeddings and positions."""

    def __init__(self, chunk: ScheduledChunk, rows: TextRows | None) -> None:
        seq, first = chunk.seq, chunk.seq.num_computed
        run = seq.media.run_at(first) if seq.media is not None else ()
        end = first + chunk.num_tokens
        if seq.media is None or not run or end > seq.media.run_end(run, len(seq.tokens)):
            raise ValueError(f"request {seq.request_id} has no medium at {first} to {end}")
        self.is_whole = (first, end) == (run[0].start, run[-1].end)
        self.is_causal = run[0].chunk.shape.is_causal
        pieces: list[tuple[np.ndarray, np.ndarray]] = []
        for placed in run:
            if first < min(placed.start, end):
                pieces.append(_text(seq, first, min(placed.start, end), rows))
            start, first = max(first, placed.start), min(end, placed.end)
            if start < first:
                pieces.append(_medium(seq, placed, start, first))
        if first < end:
            pieces.append(_text(seq, first, end, rows))
        self.embeddings = np.concatenate([embeddings for embeddings, _ in pieces])
        self.positions = np.concatenate([positions for _, positions in pieces], axis=1)


def _medium(
    seq: Sequence, placed: PlacedChunk, first: int, end: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return embeddings and positions of tokens [first, end) of a chunk."""
    whole = placed.chunk.embeddings
    if whole is None:
        raise ValueError(f"request {seq.request_id} has a medium that is not encoded")
    begin, stop = first - placed.start, end - placed.start
    positions = placed.chunk.shape.positions(seq.position_at(placed.start), begin, stop)
    return whole[begin:stop], positions


def _text(
    seq: Sequence, first: int, end: int, rows: TextRows | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return embeddings and positions of text tokens [first, end) between or behind tiles."""
    if rows is None:
        raise ValueError(f"request {seq.request_id} joins tiles, and the model has no rows")
    position = seq.position_at(first)
    positions = np.arange(position, position + end - first, dtype=np.int32)
    return rows.of(seq.tokens[first:end]), positions[None]
