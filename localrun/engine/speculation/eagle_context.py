"""EAGLE-3 context: a head in a file of its own that drafts tokens from inputs of a model's layers.

The head fuses the inputs of three layers of each token to one row (its encoder, a matrix). Its only
layer then computes (token, row of the token before), as MTP layers do, and outputs logits and the
row behind them. A head without embeddings or output of its own takes the model's, which llama.cpp
finds by a context of the model: that is a small one here, which computes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import llama_cpp
import numpy as np
from llama_cpp import llama_cpp_ext as ext

from localrun.engine.batch import BatchArrays
from localrun.engine.speculation.features import HiddenStates, LayerInputs, target_layers
from localrun.engine.speculation.mtp_context import MtpBatch, MtpInputs, MtpOutput
from localrun.engine.threads import ContextThreads
from localrun.errors import BackendError, LoadError

if TYPE_CHECKING:
    from localrun.engine.llama.model import Model
    from localrun.engine.scheduler import SchedulerLimits
    from localrun.engine.threads import ThreadGauge

STEP_TOKENS = 64  # each has room for logits in llama.cpp's buffers, whether they are computed
COMPANION_CELLS = 32


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
        self._step = max(STEP_TOKENS, limits.num_slots)
        self._companion = _open_companion(target)
        params = llama_cpp.llama_context_default_params()
        params.ctx_other = self._companion
        params.n_ctx, params.kv_unified = limits.num_cells, True
        params.n_seq_max, params.n_batch = limits.num_slots, self._step
        params.n_ubatch = self._step
        params.n_threads = params.n_threads_batch = num_threads
        self._handle = llama_cpp.llama_init_from_model(head.handle, params)
        if not self._handle:
            llama_cpp.llama_free(self._companion)
            raise LoadError("no memory for the context of the EAGLE-3 head")
        self._states.keep(self._handle)
        self._threads = ContextThreads(self._handle, num_threads, gauge)
        self._memory = llama_cpp.llama_get_memory(self._handle)
        self._num_vocab = head.num_vocab
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

    def compute(self, inputs: list[MtpInputs]) -> list[MtpOutput] | None:
        """Return the output of each sequence, or None if no cells are free.

        Raises:
            ValueError: the inputs do not fit.
            BackendError: the context is broken.
        """
        total = sum(len(each.tokens) for each in inputs)
        if not 0 < total <= self.capacity:
            raise ValueError(f"{total} inputs of the head; between 1 and {self.capacity} fit")
        self._threads.adjust()
        if not all(map(self._compute_first, inputs)):
            return None
        if not self._decode([_last(each) for each in inputs]):
            return None
        return [self._output(index) for index in range(len(inputs))]

    def truncate(self, seq_id: int, position: int) -> None:
        """Free the cells of a sequence id from a position on."""
        llama_cpp.llama_memory_seq_rm(self._memory, seq_id, position, -1)

    def close(self) -> None:
        """Free the context."""
        llama_cpp.llama_free(self._handle)
        llama_cpp.llama_free(self._companion)

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
        code = llama_cpp.llama_decode(self._handle, self._inputs.native)
        if code not in {0, 1}:
            raise BackendError(f"llama.cpp failed to compute the EAGLE-3 head (code {code})")
        return bool(code == 0)

    def _output(self, index: int) -> MtpOutput:
        logits = llama_cpp.llama_get_logits_ith(self._handle, index)
        hidden = ext.llama_get_embeddings_nextn_ith(self._handle, index)
        if not logits or not hidden:
            raise BackendError(f"llama.cpp has no output of the EAGLE-3 head at {index}")
        token = int(np.ctypeslib.as_array(logits, (self._num_vocab,)).argmax())
        return MtpOutput(token, np.ctypeslib.as_array(hidden, (self.width,)).copy())


def _open_companion(target: Model) -> object:
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = params.n_batch = params.n_ubatch = COMPANION_CELLS
    params.n_outputs_max = 1
    handle = llama_cpp.llama_init_from_model(target.handle, params)
    if not handle:
        raise LoadError("no memory beside the EAGLE-3 head")
    return handle


def _last(inputs: MtpInputs) -> MtpInputs:
    """Return the last input of a sequence."""
    position = inputs.position + len(inputs.tokens) - 1
    return MtpInputs(inputs.seq_id, position, inputs.tokens[-1:], inputs.hidden[-1:])
