"""DFlash context: a head in a file of its own that drafts a block of tokens in one call.

The inputs of some layers of each token of the model become keys and values of all layers of the
head. A block is the pending token and masked tokens behind it, which attend to these cells and to
each other; the logits at each mask are a draft token. Afterwards the cells of the block are freed.

    cells       [ 0 ....... n - 1 | n  n + 1 ... n + length ]    n is pending in the model
                  rows of layers    token  mask ...  mask
    logits                                 1st ...  last draft token

The head shares the interface of `MtpContext`, whose inputs are (token i, row i - 1) at position i:
here a row has the position of its own token, one less.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import llama_cpp
import numpy as np

from localrun.engine.batch import BatchArrays
from localrun.engine.speculation.features import LayerInputs, target_layers
from localrun.engine.speculation.head_context import HeadContext
from localrun.errors import LoadError
from localrun.gguf.heads import DFLASH

if TYPE_CHECKING:
    from localrun.engine.llama.model import Model
    from localrun.engine.scheduler import SchedulerLimits
    from localrun.engine.speculation.mtp_context import MtpInputs
    from localrun.engine.threads import ThreadGauge

DEFAULT_BLOCK = 16  # tokens, of a head whose file does not say


class DFlashContext:
    """Context of a DFlash head; only the engine's thread uses it."""

    def __init__(
        self,
        head: Model,
        target: Model,
        limits: SchedulerLimits,
        *,
        num_threads: int,
        gauge: ThreadGauge | None = None,
    ) -> None:
        """Open the context of a head for a model.

        Raises:
            LoadError: no memory, no mask token, or this build of llama.cpp lacks a function.
        """
        vocabulary = llama_cpp.llama_model_get_vocab(head.handle)
        self._mask = int(llama_cpp.llama_vocab_mask(vocabulary))
        if not 0 <= self._mask < head.num_vocab:
            raise LoadError("the DFlash head has no mask token")
        self.features = LayerInputs(target, target_layers(head))
        self.width = self.features.width
        self.capacity = limits.step_tokens  # rows of one call, of which llama.cpp gets a few
        self._context = HeadContext(head, target, limits, num_threads=num_threads, gauge=gauge)
        self._step = self._context.step_tokens
        is_causal = head.metadata(f"{DFLASH}.attention.causal") == "true"
        llama_cpp.llama_set_causal_attn(self._context.handle, is_causal)
        self._block_size = int(head.metadata(f"{DFLASH}.block_size") or DEFAULT_BLOCK)
        self._rows = np.zeros((self._step, self.width), np.float32)
        self._row_batch = BatchArrays(self._step, has_tokens=False, embeddings=self._rows)
        self._block_batch = BatchArrays(self._step)
        self._block_batch.logits[:] = 1  # llama.cpp takes the first rows: so all, or none

    def encode(self, rows: np.ndarray) -> np.ndarray:
        """Return rows of the model as the head takes them: as they are."""
        return rows

    def draft(self, inputs: list[MtpInputs], lengths: list[int]) -> list[list[int]]:
        """Return at most so many draft tokens of each sequence, none without free cells.

        All blocks of a call have one length.

        Raises:
            ValueError: the inputs do not fit.
            BackendError: the context is broken.
        """
        total = sum(len(each.tokens) for each in inputs)
        if not 0 < total <= self.capacity:
            raise ValueError(f"{total} rows of the head; between 1 and {self.capacity} fit")
        length = min(max(lengths), self._block_size - 1, self._step // len(inputs) - 1)
        self._context.threads.adjust()
        if length < 1 or not all(map(self._add_rows, inputs)):
            return [[] for _ in inputs]
        if not self._compute_blocks(inputs, 1 + length):
            return [[] for _ in inputs]
        return [
            self._tokens(number * (1 + length), min(own, length))
            for number, own in enumerate(lengths)
        ]

    def truncate(self, seq_id: int, position: int) -> None:
        """Free the cells of a sequence id from the row of an input's position on."""
        self._context.truncate(seq_id, max(0, position - 1))

    def close(self) -> None:
        """Free the context."""
        self._context.close()

    def _add_rows(self, inputs: MtpInputs) -> bool:
        """Compute the cells of all rows of a sequence; return False without free cells."""
        for start in range(0, len(inputs.hidden), self._step):
            rows = inputs.hidden[start : start + self._step]
            first, batch = inputs.position - 1 + start, self._row_batch
            self._rows[: len(rows)] = rows
            batch.positions[: len(rows)] = np.arange(first, first + len(rows))
            batch.seq_ids[: len(rows)] = inputs.seq_id
            if not self._decode(batch, len(rows)):
                return False
        return True

    def _compute_blocks(self, inputs: list[MtpInputs], size: int) -> bool:
        """Compute the block of each sequence in one call; return False without free cells."""
        batch = self._block_batch
        for number, each in enumerate(inputs):
            block = slice(number * size, (number + 1) * size)
            first = each.position + len(each.tokens) - 1
            batch.tokens[block] = self._mask
            batch.tokens[block.start] = each.tokens[-1]
            batch.positions[block] = np.arange(first, first + size)
            batch.seq_ids[block] = each.seq_id
        return self._decode(batch, len(inputs) * size)

    def _tokens(self, first: int, count: int) -> list[int]:
        """Return the draft tokens of the block whose pending token is at an index."""
        return [self._context.likeliest(first + place) for place in range(1, 1 + count)]

    def _decode(self, batch: BatchArrays, count: int) -> bool:
        batch.native.n_tokens = count
        return self._context.decode(batch.native)
