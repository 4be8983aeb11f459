"""EAGLE-3 context: a head in a file of its own that drafts tokens from inputs of a model's layers.

The head fuses the inputs of three layers of each token to one row (its encoder, a matrix). Its only
layer then computes (token, row of the token before), as MTP layers do, and outputs logits and the
row behind them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import llama_cpp
import numpy as np
from llama_cpp import llama_cpp_ext as ext

from localrun.engine.batch import BatchArrays
from localrun.engine.speculation.features import HiddenStates, LayerInputs, target_layers
from localrun.engine.speculation.head_context import HeadContext
from localrun.engine.speculation.mtp_context import (
    MtpBatch,
    MtpInputs,
    MtpOutput,
    draft_one_by_one,
)
from localrun.errors import BackendError

if TYPE_CHECKING:
    from localrun.engine.llama.model import Model
    from localrun.engine.scheduler import SchedulerLimits
    from localrun.engine.threads import ThreadGauge


class EagleContext:
    """Context of an EAGLE-3 head; only the engine's thread uses it."""

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
            LoadError: no memory, or the head takes inputs of layers that the model lacks.
        """
        self.features = LayerInputs(target, target_layers(head))
        self._states = HiddenStates(head)
        self.width = self._states.width
        self.capacity = limits.step_tokens  # inputs of one call, of which llama.cpp gets a few
        self._context = HeadContext(head, target, limits, num_threads=num_threads, gauge=gauge)
        self._handle, self._step = self._context.handle, self._context.step_tokens
        self._states.keep(self._handle)
        self._inputs = MtpBatch(self._step, self.width)
        self._features = np.zeros((self._step, self.features.width), np.float32)
        self._encoder = BatchArrays(self._step, has_tokens=False, embeddings=self._features)

    def encode(self, rows: np.ndarray) -> np.ndarray:
        """Return the fused rows of tokens, shape (num_tokens, width).

        Raises:
            BackendError: the context is broken.
        """
        parts = [rows[at : at + self._step] for at in range(0, len(rows), self._step)]
        return np.concatenate([self._encode(part) for part in parts])

    def draft(self, inputs: list[MtpInputs], lengths: list[int]) -> list[list[int]]:
        """Return at most so many draft tokens of each sequence; fewer without free cells.

        Raises:
            ValueError: the inputs do not fit.
            BackendError: the context is broken.
        """
        return draft_one_by_one(self.compute, inputs, lengths)

    def compute(self, inputs: list[MtpInputs]) -> list[MtpOutput] | None:
        """Return the output of each sequence, or None if no cells are free.

        Raises:
            ValueError: the inputs do not fit.
            BackendError: the context is broken.
        """
        total = sum(len(each.tokens) for each in inputs)
        if not 0 < total <= self.capacity:
            raise ValueError(f"{total} inputs of the head; between 1 and {self.capacity} fit")
        self._context.threads.adjust()
        if not all(map(self._compute_first, inputs)):
            return None
        if not self._decode([_last(each) for each in inputs]):
            return None
        return [self._output(index) for index in range(len(inputs))]

    def truncate(self, seq_id: int, position: int) -> None:
        """Free the cells of a sequence id from a position on."""
        self._context.truncate(seq_id, position)

    def close(self) -> None:
        """Free the context."""
        self._context.close()

    def _encode(self, rows: np.ndarray) -> np.ndarray:
        arrays, count = self._encoder, len(rows)
        self._features[:count] = rows
        arrays.positions[:count] = np.arange(count)
        arrays.native.n_tokens = count
        code = llama_cpp.llama_encode(self._handle, arrays.native)
        if code != 0:
            raise BackendError(f"llama.cpp failed to encode for the EAGLE-3 head (code {code})")
        return self._states.read(self._handle, count).copy()

    def _compute_first(self, inputs: MtpInputs) -> bool:
        """Compute all inputs of a sequence but the last; return False without free cells."""
        end = len(inputs.tokens) - 1
        for at in range(0, end, self._step):
            part = slice(at, min(at + self._step, end))
            position = inputs.position + at
            piece = MtpInputs(inputs.seq_id, position, inputs.tokens[part], inputs.hidden[part])
            if not self._decode([piece], has_outputs=False):
                return False
        return True

    def _decode(self, inputs: list[MtpInputs], *, has_outputs: bool = True) -> bool:
        """Compute inputs; return False without free cells.

        llama.cpp takes the logits of a head from its first rows, so all inputs have them or none.
        """
        self._inputs.fill(inputs, has_outputs=has_outputs)
        return self._context.decode(self._inputs.native)

    def _output(self, index: int) -> MtpOutput:
        token = self._context.likeliest(index)
        hidden = ext.llama_get_embeddings_nextn_ith(self._handle, index)
        if not hidden:
            raise BackendError(f"llama.cpp has no hidden state of the EAGLE-3 head at {index}")
        return MtpOutput(token, np.ctypeslib.as_array(hidden, (self.width,)).copy())


def _last(inputs: MtpInputs) -> MtpInputs:
    """Return the last input of a sequence."""
    position = inputs.position + len(inputs.tokens) - 1
    return MtpInputs(inputs.seq_id, position, inputs.tokens[-1:], inputs.hidden[-1:])
