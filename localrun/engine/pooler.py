"""Pooler: llama.cpp's context in embedding mode, from token lists to one vector each.

It exists beside the generating context, or alone if the model only embeds, and keeps nothing
between calls except the computed part of a long input. Bidirectional attention needs an input
whole in one batch, so the buffers grow with the longest input and shrink again; with causal
attention a long input is computed in parts.

Misuse of llama.cpp aborts the process, so everything is checked before a native call: at most
`MAX_INPUTS` inputs, none empty or longer than ``longest``, only tokens of the vocabulary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import llama_cpp
import numpy as np
from llama_cpp import llama_cpp as api

from localrun.engine.batch import Batch
from localrun.engine.context import ABORTED, DEFAULT_OPTIONS, set_adapters
from localrun.engine.context_params import set_attention, set_rope
from localrun.engine.embedder import MAX_INPUTS
from localrun.engine.engine import AbortedError
from localrun.engine.llama.memory.lazy_buffers import lazy_buffers
from localrun.engine.llama.native_context import AbortFlag
from localrun.engine.params import LoadOptions, Pooling
from localrun.engine.threads import ContextThreads
from localrun.errors import BackendError, LoadError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.engine.llama.model import Model
    from localrun.engine.threads import ThreadGauge

STEP_TOKENS = 512
MIN_STEP_TOKENS = 64
CONTEXT_MULTIPLE = 256  # llama.cpp aborts if a batch size is no multiple of the sequences
OUTPUT_BYTES = 128 * 1024 * 1024  # llama.cpp reserves logits for each token of a batch
POOLING_TYPES = {
    Pooling.MEAN: api.LLAMA_POOLING_TYPE_MEAN,
    Pooling.CLS: api.LLAMA_POOLING_TYPE_CLS,
    Pooling.LAST: api.LLAMA_POOLING_TYPE_LAST,
    Pooling.RANK: api.LLAMA_POOLING_TYPE_RANK,
}


class Pooler:
    """A `PoolingBackend` of one pooling type; only one thread uses it, except `abort`."""

    def __init__(  # noqa: PLR0913 - each is another thing
        self,
        model: Model,
        pooling: Pooling,
        *,
        longest: int,
        num_threads: int,
        options: LoadOptions = DEFAULT_OPTIONS,
        adapters: Sequence[tuple[Any, float]] = (),
        gauge: ThreadGauge | None = None,
    ) -> None:
        """``longest`` is the maximum number of tokens of an input."""
        self._model = model
        self._gauge = gauge
        self._pooling = pooling
        self._longest = longest
        self._num_threads = num_threads
        self._options = options
        self._adapters = adapters
        affordable: int = OUTPUT_BYTES // (4 * model.num_vocab)
        self.step_tokens = max(
            MIN_STEP_TOKENS, min(STEP_TOKENS, affordable - affordable % MAX_INPUTS)
        )
        self._context = self._open(self.step_tokens, batch_size=self.step_tokens)
        self._partial_vector = np.zeros(self.width)  # of the computed part of a long input

    @property
    def can_split(self) -> bool:
        """Return whether an input may be computed in parts: attention is causal."""
        return self._context.can_split

    @property
    def width(self) -> int:
        """Return how many numbers a result has."""
        if self._pooling is Pooling.RANK:
            return len(self._model.class_labels)
        return self._model.embedding_length

    def compute(self, inputs: list[list[int]]) -> np.ndarray:
        """Return the vectors of whole inputs, computed together: shape (len(inputs), width).

        Raises:
            AbortedError: `abort` was called; nothing of these inputs is kept.
            BackendError: the context is broken and must not be used again.
        """
        if not 0 < len(inputs) <= MAX_INPUTS:
            raise ValueError(f"{len(inputs)} inputs; a batch has between 1 and {MAX_INPUTS}")
        self._fit(sum(map(len, inputs)))
        self._context.clear_memory()
        self._decode(inputs, 0)
        return np.stack([self._result(slot) for slot in range(len(inputs))])

    def extend(self, tokens: list[int], start: int, end: int) -> np.ndarray:
        """Compute ``tokens[start:end]`` of an input whose first ``start`` tokens are computed.

        Return the vector of ``tokens[:end]``: shape (width,). Requires `can_split` and at most
        ``step_tokens`` at a time; a start of 0 drops another input that was not finished.

        Raises:
            AbortedError: `abort` was called; nothing of this input is kept.
            BackendError: the context is broken and must not be used again.
        """
        if start == 0:
            self._fit(len(tokens))
            self._context.clear_memory()
        self._decode([tokens[start:end]], start)
        part = self._result(0).astype(np.float64)
        if start == 0:
            self._partial_vector = part
        elif self._pooling is Pooling.MEAN:
            self._partial_vector += (part - self._partial_vector) * ((end - start) / end)
        elif self._pooling is not Pooling.CLS:
            self._partial_vector = part
        return self._partial_vector

    def abort(self) -> None:
        """Abort the running batch, if any; safe from any thread."""
        self._context.abort.set()

    def clear_abort(self) -> None:
        """Reset an `abort` that was called while nothing ran."""
        self._context.abort.clear()

    def close(self) -> None:
        """Free the native context."""
        self._context.close()

    def _decode(self, inputs: list[list[int]], first: int) -> None:
        highest = max(map(max, inputs))
        if highest >= self._model.num_vocab or min(map(min, inputs)) < 0:
            raise ValueError(f"{highest} or another is no token of the vocabulary")
        if first + max(map(len, inputs)) > self._longest:
            raise ValueError(f"an input of more than {self._longest} tokens")
        context = self._context
        context.batch.fill_inputs(inputs, first)
        context.threads.adjust()
        code = llama_cpp.llama_decode(context.handle, context.batch.native)
        if code == ABORTED:
            context.abort.clear()
            context.clear_memory()
            raise AbortedError
        if code != 0:
            raise BackendError(f"llama.cpp failed to embed (code {code})")

    def _result(self, slot: int) -> np.ndarray:
        pointer = llama_cpp.llama_get_embeddings_seq(self._context.handle, slot)
        if not pointer:
            raise BackendError("llama.cpp returned no embedding")
        return np.ctypeslib.as_array(pointer, shape=(self.width,)).copy()

    def _fit(self, num_tokens: int) -> None:
        """Reopen the context if its buffers are too small, or more than four times too large."""
        size = self.step_tokens
        while size < num_tokens:
            size *= 2
        if self._context.size < num_tokens or self._context.size > 4 * size:
            can_split = self._context.can_split
            self._context.close()
            max_size = -(-self._longest // CONTEXT_MULTIPLE) * CONTEXT_MULTIPLE
            size = min(size, max(max_size, self.step_tokens))
            self._context = self._open(size, batch_size=self.step_tokens if can_split else size)

    def _open(self, size: int, *, batch_size: int) -> _NativeContext:
        """Return a context for inputs of up to ``size`` tokens in total.

        Raises:
            LoadError: there is no memory for it.
        """
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = size
        params.n_batch = params.n_ubatch = batch_size
        params.n_seq_max = MAX_INPUTS
        params.n_outputs_max = 0  # one for each token of the batch
        params.kv_unified = True
        params.swa_full = False
        params.embeddings = True
        params.pooling_type = POOLING_TYPES[self._pooling]
        params.n_threads = params.n_threads_batch = self._num_threads
        set_attention(params, self._options)
        set_rope(params, self._options)
        with lazy_buffers():
            handle = llama_cpp.llama_init_from_model(self._model.handle, params)
        if not handle:
            raise LoadError(
                f"no memory to embed {size} tokens at once",
                hint="send shorter texts, or use a smaller context (num_ctx)",
            )
        if self._adapters:
            set_adapters(handle, list(self._adapters))
        threads = ContextThreads(handle, self._num_threads, self._gauge)
        return _NativeContext(handle, threads, Batch(batch_size), size)


class _NativeContext:
    """One llama_context in embedding mode; its size is 0 once it is closed."""

    def __init__(self, handle: object, threads: ContextThreads, batch: Batch, size: int) -> None:
        self.handle = handle
        self.threads = threads
        self.batch = batch
        self.size = size  # tokens of all inputs together
        self.abort = AbortFlag(handle)
        self._memory = llama_cpp.llama_get_memory(handle) or None
        is_causal = bool(llama_cpp.llama_get_causal_attn(handle))
        self.can_split = self._memory is not None and is_causal

    def clear_memory(self) -> None:
        """Drop the computed tokens."""
        if self._memory is not None:
            clear_data = False
            llama_cpp.llama_memory_clear(self._memory, clear_data)

    def close(self) -> None:
        """Free the context; calling it again has no effect."""
        llama_cpp.llama_free(self.handle)
        self.handle, self.size = None, 0
