"""A llama_batch on numpy arrays: what one decode computes.

Owns the arrays, and checks that the rows fit. llama.cpp only reads them.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import numpy as np
from llama_cpp import llama_cpp as api

from localrun.engine.cache.prefix_cache import slot_of

if TYPE_CHECKING:
    from localrun.engine.scheduler import ScheduledChunk


class Batch:
    """Room for ``capacity`` tokens; writing single elements through ctypes costs far more."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._tokens = np.zeros(capacity, dtype=np.int32)
        self._positions = np.zeros(capacity, dtype=np.int32)
        self._slots = np.zeros(capacity, dtype=np.int32)
        self._num_slots = np.ones(capacity, dtype=np.int32)  # each token belongs to one
        self._logits = np.zeros(capacity, dtype=np.int8)
        self.weighed: list[
            tuple[ScheduledChunk, int]
        ] = []  # rows with logits at each token, and where
        # llama.cpp wants a pointer for each token; these go to the elements of _slots
        self._slot_pointers = self._slots.ctypes.data + 4 * np.arange(capacity, dtype=np.uintp)
        self.native = api.llama_batch(
            n_tokens=0,
            token=_pointer(self._tokens, ctypes.c_int32),
            pos=_pointer(self._positions, ctypes.c_int32),
            n_seq_id=_pointer(self._num_slots, ctypes.c_int32),
            seq_id=_pointer(self._slot_pointers, ctypes.POINTER(ctypes.c_int32)),
            logits=_pointer(self._logits, ctypes.c_int8),
        )

    def fill(self, rows: list[ScheduledChunk]) -> list[tuple[ScheduledChunk, int]]:
        """Write the rows; return (row, index of its first logits) of those that give any.

        A row has logits at its last pending token and, behind it, at each draft; one of a
        prompt that is weighed has them everywhere.
        """
        total = sum(row.width for row in rows)
        if not 0 < total <= self._capacity:
            raise ValueError(f"a batch of {total} tokens, between 1 and {self._capacity} fit")
        if len({row.seq.adapters for row in rows}) > 1:
            raise ValueError("a batch of several adapter sets, which llama.cpp computes as one")
        outputs = []
        end = 0
        self._logits[:total], self.weighed = 0, []
        for row in rows:
            seq, start, end = row.seq, end, end + row.width
            first, last = seq.num_computed, start + row.count - 1
            self._tokens[start : last + 1] = seq.tokens[first : first + row.count]
            self._tokens[last + 1 : end] = row.drafts
            self._positions[start:end] = np.arange(first, first + row.width)
            self._slots[start:end] = slot_of(seq)
            if seq.weighs_prompt:
                self._logits[start : last + 1] = 1
                self.weighed.append((row, start))
            if row.is_last:
                self._logits[last:end] = 1
                outputs.append((row, last))
        self.native.n_tokens = total
        return outputs

    def fill_inputs(self, inputs: list[list[int]], first: int = 0) -> None:
        """Write whole inputs, each in the slot of its index, from position ``first`` on.

        All tokens give an output, as embeddings want it.
        """
        total = sum(map(len, inputs))
        if not 0 < total <= self._capacity:
            raise ValueError(f"a batch of {total} tokens, between 1 and {self._capacity} fit")
        end = 0
        for slot, tokens in enumerate(inputs):
            start, end = end, end + len(tokens)
            self._tokens[start:end] = tokens
            self._positions[start:end] = np.arange(first, first + len(tokens))
            self._slots[start:end] = slot
        self._logits[:total] = 1
        self.native.n_tokens = total


def _pointer(array: np.ndarray, kind: Any) -> Any:  # noqa: ANN401 - ctypes
    return ctypes.cast(array.ctypes.data, ctypes.POINTER(kind))
