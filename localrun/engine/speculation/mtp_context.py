"""MTP context: the layers of a model that predict further tokens (multi-token prediction).

The layers are part of the model's file and share its embeddings. They have a context of their own
over the same weights, with a memory for nothing but these layers. Each input is a token and the
hidden state of the token before it, which the model's own context computed; each output is the
likeliest next token and the hidden state that predicts the one behind it.

The functions are llama.cpp's experimental ones (``llama-ext.h``), which the binding names by their
C++ symbols. Knows handles and sequence ids, no sequences of the engine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import llama_cpp
import numpy as np
from llama_cpp import llama_cpp as api
from llama_cpp import llama_cpp_ext as ext

from localrun.engine.batch import BatchArrays
from localrun.engine.context_params import set_attention, set_rope
from localrun.engine.speculation.features import HiddenStates
from localrun.engine.threads import ContextThreads
from localrun.errors import BackendError, LoadError

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.engine.llama.model import Model
    from localrun.engine.params import LoadOptions
    from localrun.engine.scheduler import SchedulerLimits
    from localrun.engine.threads import ThreadGauge


@dataclass(frozen=True, slots=True)
class MtpInputs:
    """Consecutive inputs of one sequence; the output of the last is read."""

    seq_id: int
    position: int  # of the first
    tokens: list[int]
    hidden: np.ndarray  # float32, shape (len(tokens), width)


@dataclass(frozen=True, slots=True)
class MtpOutput:
    """The output behind one sequence's inputs."""

    token: int
    hidden: np.ndarray  # float32, shape (width,)


class MtpContext:
    """Context of type MTP; only the engine's thread uses it."""

    def __init__(
        self,
        model: Model,
        limits: SchedulerLimits,
        *,
        num_threads: int,
        options: LoadOptions,
        gauge: ThreadGauge | None = None,
    ) -> None:
        """Open the context with the options of the model's own.

        Raises:
            LoadError: no memory, or llama.cpp has no MTP layers for the model.
        """
        params = llama_cpp.llama_context_default_params()
        params.ctx_type = api.LLAMA_CONTEXT_TYPE_MTP
        params.n_ctx, params.kv_unified = limits.num_cells, True
        params.n_seq_max = params.n_outputs_max = limits.num_slots
        params.n_batch = params.n_ubatch = limits.step_tokens
        params.n_threads = params.n_threads_batch = num_threads
        set_attention(params, options)
        set_rope(params, options)
        self._handle = llama_cpp.llama_init_from_model(model.handle, params)
        if not self._handle:
            raise LoadError("no memory for the context of the model's MTP layers")
        self.features = HiddenStates(model)
        self.features.keep(self._handle)
        self._threads = ContextThreads(self._handle, num_threads, gauge)
        self._memory = llama_cpp.llama_get_memory(self._handle)
        self.width = self.features.width
        self.capacity = limits.step_tokens  # inputs of one call
        self._num_vocab = model.num_vocab
        self._batch = MtpBatch(self.capacity, self.width)

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
        ends = self._batch.fill(inputs)
        self._threads.adjust()
        code = llama_cpp.llama_decode(self._handle, self._batch.native)
        if code == 1:
            return None
        if code != 0:
            raise BackendError(f"llama.cpp failed to compute MTP layers (code {code})")
        return [self._output(end - 1) for end in ends]

    def encode(self, rows: np.ndarray) -> np.ndarray:
        """Return hidden states of the model as the layers take them: as they are."""
        return rows

    def truncate(self, seq_id: int, position: int) -> None:
        """Free the cells of a sequence id from a position on."""
        llama_cpp.llama_memory_seq_rm(self._memory, seq_id, position, -1)

    def close(self) -> None:
        """Free the context."""
        llama_cpp.llama_free(self._handle)

    def _output(self, index: int) -> MtpOutput:
        logits = llama_cpp.llama_get_logits_ith(self._handle, index)
        hidden = ext.llama_get_embeddings_nextn_ith(self._handle, index)
        if not logits or not hidden:
            raise BackendError(f"llama.cpp has no output of MTP layers at {index}")
        token = int(np.ctypeslib.as_array(logits, (self._num_vocab,)).argmax())
        return MtpOutput(token, np.ctypeslib.as_array(hidden, (self.width,)).copy())


def draft_one_by_one(
    compute: Callable[[list[MtpInputs]], list[MtpOutput] | None],
    inputs: list[MtpInputs],
    lengths: list[int],
) -> list[list[int]]:
    """Return draft tokens of each sequence: the output behind each token is the next input."""
    drafts: list[list[int]] = [[] for _ in inputs]
    current = dict(enumerate(inputs))
    for number in range(max(lengths)):
        current = {which: each for which, each in current.items() if lengths[which] > number}
        outputs = compute([*current.values()])
        if outputs is None:
            break
        for which, output in zip([*current], outputs, strict=True):
            drafts[which].append(output.token)
            end = current[which].position + len(current[which].tokens)
            row = output.hidden[np.newaxis]
            current[which] = MtpInputs(current[which].seq_id, end, [output.token], row)
    return drafts


class MtpBatch:
    """A llama_batch of tokens with hidden states, on numpy arrays."""

    def __init__(self, capacity: int, width: int) -> None:
        self._capacity = capacity
        self._hidden = np.zeros((capacity, width), np.float32)
        self._arrays = BatchArrays(capacity, embeddings=self._hidden)

    @property
    def native(self) -> api.llama_batch:
        """Return the llama_batch."""
        return self._arrays.native

    def fill(self, inputs: list[MtpInputs], *, has_outputs: bool = True) -> list[int]:
        """Write the inputs; return the index behind the last one of each sequence.

        That one has logits unless ``has_outputs`` is false.
        """
        total = sum(len(each.tokens) for each in inputs)
        if not 0 < total <= self._capacity:
            raise ValueError(f"{total} inputs of MTP layers; between 1 and {self._capacity} fit")
        arrays, ends, end = self._arrays, [], 0
        arrays.logits[:total] = 0
        for each in inputs:
            start, end = end, end + len(each.tokens)
            arrays.tokens[start:end] = each.tokens
            self._hidden[start:end] = each.hidden
            arrays.positions[start:end] = np.arange(each.position, each.position + end - start)
            arrays.seq_ids[start:end] = each.seq_id
            arrays.logits[end - 1] = has_outputs
            ends.append(end)
        arrays.native.n_tokens = total
        return ends
