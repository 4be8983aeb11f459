"""llama.cpp's context in embedding mode: token lists in, one vector each out.

Opened beside the context that generates, and the only one of a model that does not. It
keeps nothing between calls but the part of a long input that has been computed. Attention
that looks both ways needs an input whole in one batch, so the buffers grow with the
longest input and shrink again; where each token sees only those before it, a long input is
computed in parts.

Misuse of llama.cpp aborts the process, so all is checked here before a native call: at most
`MOST_TOGETHER` inputs, none empty or longer than ``longest``, tokens of the vocabulary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import llama_cpp
import numpy as np
from llama_cpp import llama_cpp as api

from localrun.engine.batch import Batch
from localrun.engine.context import (
    ABORTED,
    DEFAULT_OPTIONS,
    set_adapters,
    set_attention,
    set_rope,
)
from localrun.engine.embedder import MOST_TOGETHER
from localrun.engine.engine import AbortedError
from localrun.engine.llama.native_context import AbortFlag
from localrun.engine.params import LoadOptions, Pooling
from localrun.engine.threads import ContextThreads
from localrun.errors import BackendError, LoadError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.engine.llama.model import Model
    from localrun.engine.threads import ThreadGauge

STEP_TOKENS = 512
FEWEST_TOKENS = 64
UNIT = 256  # llama.cpp aborts over a batch size that is no multiple of the number of sequences
OUTPUT_BYTES = 128 * 1024 * 1024  # llama.cpp reserves logits for each token of a batch, unasked
TYPES = {
    Pooling.MEAN: api.LLAMA_POOLING_TYPE_MEAN,
    Pooling.CLS: api.LLAMA_POOLING_TYPE_CLS,
    Pooling.LAST: api.LLAMA_POOLING_TYPE_LAST,
    Pooling.RANK: api.LLAMA_POOLING_TYPE_RANK,
}


class Pooler:
    """Pools in one way; one thread uses it, but for `abort`."""

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
        self._model = model
        self._gauge = gauge
        self._pooling = pooling
        self._longest = longest
        self._num_threads = num_threads
        self._options = options
        self._adapters = adapters
        affordable: int = OUTPUT_BYTES // (4 * model.num_vocab)
        self.step_tokens = max(
            FEWEST_TOKENS, min(STEP_TOKENS, affordable - affordable % MOST_TOGETHER)
        )
        self._handle: object = None
        self._size = 0
        self.splits = False  # whether an input may be computed in parts: the context tells
        self._open(self.step_tokens)
        self._so_far = np.zeros(self.width)  # the vector of a long input, as far as it is computed

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
        if not 0 < len(inputs) <= MOST_TOGETHER:
            raise ValueError(f"{len(inputs)} inputs, between 1 and {MOST_TOGETHER} go together")
        self._fit(sum(map(len, inputs)))
        self.forget()
        self._decode(inputs, 0)
        return np.stack([self._result(slot) for slot in range(len(inputs))])

    def extend(self, whole: list[int], begin: int, end: int) -> np.ndarray:
        """Compute an input from ``begin`` to ``end``, where all before is computed already.

        Return its vector up to there: shape (width,). Only where `splits`, and at most
        ``step_tokens`` at a time; ``begin`` 0 drops another input that was not finished.

        Raises:
            AbortedError: `abort` was called; nothing of this input is kept.
            BackendError: the context is broken and must not be used again.
        """
        if begin == 0:
            self._fit(len(whole))
            self.forget()
        self._decode([whole[begin:end]], begin)
        part = self._result(0).astype(np.float64)
        if begin == 0:
            self._so_far = part
        elif self._pooling is Pooling.MEAN:
            self._so_far += (part - self._so_far) * ((end - begin) / end)
        elif self._pooling is not Pooling.CLS:
            self._so_far = part
        return self._so_far

    def forget(self) -> None:
        """Drop what is computed of an input."""
        if self._memory is not None:
            clear_data = False
            llama_cpp.llama_memory_clear(self._memory, clear_data)

    def abort(self) -> None:
        """Break off what runs, if something does; safe from any thread."""
        self._abort.set()

    def clear_abort(self) -> None:
        """Forget an `abort` that came when nothing ran."""
        self._abort.clear()

    def close(self) -> None:
        """Free the context."""
        llama_cpp.llama_free(self._handle)
        self._handle = None

    def _decode(self, inputs: list[list[int]], first: int) -> None:
        highest = max(map(max, inputs))
        if highest >= self._model.num_vocab or min(map(min, inputs)) < 0:
            raise ValueError(f"{highest} or another is no token of the vocabulary")
        if first + max(map(len, inputs)) > self._longest:
            raise ValueError(f"an input of more than {self._longest} tokens")
        self._batch.fill_inputs(inputs, first)
        self._threads.adjust()
        code = llama_cpp.llama_decode(self._handle, self._batch.native)
        if code == ABORTED:
            self._abort.clear()
            self.forget()
            raise AbortedError
        if code != 0:
            raise BackendError(f"llama.cpp failed to embed (code {code})")

    def _result(self, slot: int) -> np.ndarray:
        pointer = llama_cpp.llama_get_embeddings_seq(self._handle, slot)
        if not pointer:
            raise BackendError("llama.cpp gave no embedding")
        return np.ctypeslib.as_array(pointer, shape=(self.width,)).copy()

    def _fit(self, needed: int) -> None:
        """Have buffers for as many tokens, and not for many times more."""
        size = self.step_tokens
        while size < needed:
            size *= 2
        if self._size < needed or self._size > 4 * size:
            self.close()
            most = max(-(-self._longest // UNIT) * UNIT, self.step_tokens)
            self._open(min(size, most))

    def _open(self, size: int) -> None:
        """Open a context for inputs of up to ``size`` tokens in all."""
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = size
        params.n_batch = params.n_ubatch = self.step_tokens if self.splits else size
        params.n_seq_max = MOST_TOGETHER
        params.n_outputs_max = 0  # as many as the batch has tokens: each gives one
        params.kv_unified = True
        params.swa_full = False
        params.embeddings = True
        params.pooling_type = TYPES[self._pooling]
        params.n_threads = params.n_threads_batch = self._num_threads
        set_attention(params, self._options)
        set_rope(params, self._options)
        self._handle = llama_cpp.llama_init_from_model(self._model.handle, params)
        if not self._handle:
            self._size = 0
            raise LoadError(
                f"no memory to embed {size} tokens at once",
                hint="send shorter texts, or use a smaller context (num_ctx)",
            )
        self._threads = ContextThreads(self._handle, self._num_threads, self._gauge)
        self._memory = llama_cpp.llama_get_memory(self._handle) or None
        is_causal = bool(llama_cpp.llama_get_causal_attn(self._handle))
        self.splits = self._memory is not None and is_causal
        self._abort = AbortFlag(self._handle)
        self._batch = Batch(params.n_batch)
        self._size = size
        if self._adapters:
            set_adapters(self._handle, list(self._adapters))
