"""Batch: a llama_batch on numpy arrays, the input of one decode call.

Owns the arrays and checks that the chunks fit; llama.cpp only reads them. Writing single
elements through ctypes would cost far more. Media and MTP layers have batches of the same arrays.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import numpy as np
from llama_cpp import llama_cpp as api

from localrun.engine.sequence import slot_of

if TYPE_CHECKING:
    from localrun.engine.scheduler import ScheduledChunk
    from localrun.engine.sequence import Sequence


class BatchArrays:
    """A llama_batch and the arrays that it points to; each token belongs to one sequence id."""

    def __init__(
        self,
        capacity: int,
        *,
        has_tokens: bool = True,
        embeddings: np.ndarray | None = None,
        positions: np.ndarray | None = None,
    ) -> None:
        """``embeddings`` are float32, one row a token; ``positions`` int32, by default one each."""
        self.tokens = np.zeros(capacity if has_tokens else 0, dtype=np.int32)
        self.positions = np.zeros(capacity, dtype=np.int32) if positions is None else positions
        self.seq_ids = np.zeros(capacity, dtype=np.int32)
        self.logits = np.zeros(capacity, dtype=np.int8)
        self._embeddings = embeddings
        self._num_seq_ids = np.ones(capacity, dtype=np.int32)
        # llama.cpp needs a pointer for each token; these point to the elements of seq_ids
        self._pointers = self.seq_ids.ctypes.data + 4 * np.arange(capacity, dtype=np.uintp)
        self.native = api.llama_batch(
            n_tokens=0,
            token=_pointer(self.tokens, ctypes.c_int32) if has_tokens else None,
            embd=None if embeddings is None else _pointer(embeddings, ctypes.c_float),
            pos=_pointer(self.positions, ctypes.c_int32),
            n_seq_id=_pointer(self._num_seq_ids, ctypes.c_int32),
            seq_id=_pointer(self._pointers, ctypes.POINTER(ctypes.c_int32)),
            logits=_pointer(self.logits, ctypes.c_int8),
        )


class Batch:
    """Batch of ``capacity`` tokens."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._arrays = BatchArrays(capacity)
        # chunks with logits at each prompt token, and the index of the first of them
        self.prompt_outputs: list[tuple[ScheduledChunk, int]] = []
        # the last chunks if all had one token, their sequences in the order of the slots
        self._single: list[ScheduledChunk] | None = None
        self._single_sequences: list[Sequence] = []
        self._single_outputs: list[tuple[ScheduledChunk, int]] = []

    @property
    def native(self) -> api.llama_batch:
        """Return the llama_batch."""
        return self._arrays.native

    def fill(self, chunks: list[ScheduledChunk]) -> list[tuple[ScheduledChunk, int]]:
        """Write the chunks; return (chunk, index of its first logits) of those that are sampled.

        A chunk has logits at its last pending token and at each draft token behind it. If the
        log-probabilities of its prompt are wanted, it has logits everywhere. The tokens are in
        the order of the slots, since llama.cpp computes streams together only in this order.

        Raises:
            ValueError: the chunks do not fit, or have several adapter sets.
        """
        if chunks is self._single:
            self._write_newest()
            return self._single_outputs
        self._single = None
        total = sum(chunk.num_cells for chunk in chunks)
        self._check_size(total)
        if len({chunk.seq.adapters for chunk in chunks}) > 1:
            raise ValueError("llama.cpp computes a batch with one adapter set, not several")
        if total == len(chunks) and all(map(_is_sampled_only, chunks)):
            return self._fill_single_tokens(chunks)
        outputs: dict[Sequence, tuple[ScheduledChunk, int]] = {}
        arrays, end = self._arrays, 0
        arrays.logits[:total], self.prompt_outputs = 0, []
        for chunk in self.in_order(chunks):
            seq, start, end = chunk.seq, end, end + chunk.num_cells
            first, last = seq.num_computed, start + chunk.num_tokens - 1
            arrays.tokens[start : last + 1] = seq.tokens[first : first + chunk.num_tokens]
            arrays.tokens[last + 1 : end] = chunk.drafts
            position = seq.position_at(first)
            arrays.positions[start:end] = np.arange(position, position + chunk.num_cells)
            arrays.seq_ids[start:end] = slot_of(seq)
            if seq.wants_prompt_logprobs:
                arrays.logits[start : last + 1] = 1
                self.prompt_outputs.append((chunk, start))
            if chunk.is_last:
                arrays.logits[last:end] = 1
                outputs[seq] = chunk, last
        arrays.native.n_tokens = total
        return [outputs[chunk.seq] for chunk in chunks if chunk.is_last]

    def _fill_single_tokens(self, chunks: list[ScheduledChunk]) -> list[tuple[ScheduledChunk, int]]:
        """Write chunks of one token each, as most steps have, with a few calls of numpy.

        If the next step has the same list of chunks, only tokens and positions are written again.
        """
        arrays, count = self._arrays, len(chunks)
        ordered = self.in_order(chunks)
        self._single, self._single_sequences = chunks, [chunk.seq for chunk in ordered]
        self._write_newest()
        arrays.seq_ids[:count] = [slot_of(seq) for seq in self._single_sequences]
        arrays.logits[:count], self.prompt_outputs = 1, []
        arrays.native.n_tokens = count
        places = {chunk.seq: place for place, chunk in enumerate(ordered)}
        self._single_outputs = [(chunk, places[chunk.seq]) for chunk in chunks]
        return self._single_outputs

    def forget_chunks(self) -> None:
        """Forget the last chunks: their sequences may have ended."""
        self._single, self._single_sequences, self._single_outputs = None, [], []

    def _write_newest(self) -> None:
        """Write the newest token of each sequence, and its position."""
        sequences, count = self._single_sequences, len(self._single_sequences)
        self._arrays.tokens[:count] = [seq.tokens[-1] for seq in sequences]
        self._arrays.positions[:count] = [seq.num_computed - seq.num_skipped for seq in sequences]

    def in_order(self, chunks: list[ScheduledChunk]) -> list[ScheduledChunk]:
        """Return the chunks in the order of their tokens."""
        return sorted(chunks, key=_slot_of_chunk)

    def fill_inputs(self, inputs: list[list[int]], first: int = 0) -> None:
        """Write whole inputs, each in the slot of its index, from position ``first`` on.

        Every token has an output, which embeddings require.

        Raises:
            ValueError: the inputs do not fit.
        """
        total = sum(map(len, inputs))
        self._check_size(total)
        arrays, end = self._arrays, 0
        for slot, tokens in enumerate(inputs):
            start, end = end, end + len(tokens)
            arrays.tokens[start:end] = tokens
            arrays.positions[start:end] = np.arange(first, first + len(tokens))
            arrays.seq_ids[start:end] = slot
        arrays.logits[:total] = 1
        arrays.native.n_tokens, self._single = total, None

    def _check_size(self, total: int) -> None:
        if not 0 < total <= self._capacity:
            raise ValueError(f"a batch of {total} tokens; between 1 and {self._capacity} fit")


def _is_sampled_only(chunk: ScheduledChunk) -> bool:
    """Return whether the only logits of a chunk of one token are those to sample from."""
    return chunk.is_last and not chunk.seq.wants_prompt_logprobs


def _slot_of_chunk(chunk: ScheduledChunk) -> int:
    return slot_of(chunk.seq)


def _pointer(array: np.ndarray, kind: Any) -> Any:  # noqa: ANN401 - ctypes
    return ctypes.cast(array.ctypes.data, ctypes.POINTER(kind))
