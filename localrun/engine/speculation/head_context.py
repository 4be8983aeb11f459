"""Context of a draft head in a file of its own, beside the model that it drafts for.

A head without embeddings or output of its own takes the model's, which llama.cpp finds by a context
of the model: that is a small one here, which computes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import llama_cpp
import numpy as np

from localrun.engine.threads import ContextThreads
from localrun.errors import BackendError, LoadError

if TYPE_CHECKING:
    from localrun.engine.llama.model import Model
    from localrun.engine.scheduler import SchedulerLimits
    from localrun.engine.threads import ThreadGauge

STEP_TOKENS = 64  # each has room for logits in llama.cpp's buffers, whether they are computed
COMPANION_CELLS = 32


class HeadContext:
    """The context of a head; ``step_tokens`` is the most tokens of one call."""

    def __init__(
        self,
        head: Model,
        target: Model,
        limits: SchedulerLimits,
        *,
        num_threads: int,
        gauge: ThreadGauge | None,
    ) -> None:
        """Open the context.

        Raises:
            LoadError: no memory.
        """
        self.step_tokens = max(STEP_TOKENS, limits.num_slots)
        self._companion = _open_companion(target)
        params = llama_cpp.llama_context_default_params()
        params.ctx_other = self._companion
        params.n_ctx, params.kv_unified = limits.num_cells, True
        params.n_seq_max, params.n_batch = limits.num_slots, self.step_tokens
        params.n_ubatch = self.step_tokens
        params.n_threads = params.n_threads_batch = num_threads
        self.handle = llama_cpp.llama_init_from_model(head.handle, params)
        if not self.handle:
            llama_cpp.llama_free(self._companion)
            raise LoadError("no memory for the context of the draft head")
        self.threads = ContextThreads(self.handle, num_threads, gauge)
        self._memory = llama_cpp.llama_get_memory(self.handle)
        self._num_vocab = head.num_vocab

    def decode(self, batch: llama_cpp.llama_batch) -> bool:
        """Compute a batch; return False without free cells.

        Raises:
            BackendError: the context is broken.
        """
        code = llama_cpp.llama_decode(self.handle, batch)
        if code not in {0, 1}:
            raise BackendError(f"llama.cpp failed to compute the draft head (code {code})")
        return bool(code == 0)

    def likeliest(self, index: int) -> int:
        """Return the token with the highest logit behind a token of the last batch.

        Raises:
            BackendError: the token has no logits.
        """
        logits = llama_cpp.llama_get_logits_ith(self.handle, index)
        if not logits:
            raise BackendError(f"llama.cpp has no output of the draft head at {index}")
        return int(np.ctypeslib.as_array(logits, (self._num_vocab,)).argmax())

    def truncate(self, seq_id: int, position: int) -> None:
        """Free the cells of a sequence id from a position on."""
        llama_cpp.llama_memory_seq_rm(self._memory, seq_id, position, -1)

    def close(self) -> None:
        """Free the context."""
        llama_cpp.llama_free(self.handle)
        llama_cpp.llama_free(self._companion)


def _open_companion(target: Model) -> object:
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = params.n_batch = params.n_ubatch = COMPANION_CELLS
    params.n_outputs_max = 1
    handle = llama_cpp.llama_init_from_model(target.handle, params)
    if not handle:
        raise LoadError("no memory beside the draft head")
    return handle
