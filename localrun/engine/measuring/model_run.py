"""A model that reads chunks of tokens, for measurements: one sequence, one context.

The logits of a chunk are given in pieces of at most `MAX_LOGIT_BYTES`, so that a vocabulary of
any size takes the same memory. A piece is a view of llama.cpp's memory: it is valid until the next
piece is computed.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import llama_cpp
import numpy as np
from llama_cpp import llama_cpp as api

from localrun.engine.backends.loading import backends_of
from localrun.engine.llama.library import start
from localrun.engine.llama.model import load_model
from localrun.engine.llama.placement import TensorSplit, with_devices
from localrun.engine.measuring.jobs import ON_PROCESSOR
from localrun.engine.params import LoadOptions
from localrun.errors import BackendError, LoadError, UsageError
from localrun.hardware.choice import AUTO
from localrun.hardware.cpu import usable_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from localrun.engine.llama.library import NativeLog
    from localrun.engine.measuring.jobs import RunPlacement

MAX_LOGIT_BYTES = 128 * 1024**2
MAX_PIECE = 512  # tokens of one batch
MIN_PIECE = 16  # fewer do not count for an importance matrix
F32_BYTES = 4


def start_backends(placement: RunPlacement) -> NativeLog:
    """Initialize llama.cpp with the backends of a placement, and return its log.

    Raises:
        BackendError: llama.cpp has no backend to compute with.
    """
    return start(backends=backends_of(placement.devices, AUTO))


class ModelRun:
    """A loaded model with a context of one chunk; blocks, one thread."""

    def __init__(
        self,
        shards: Sequence[Path],
        native_log: NativeLog,
        *,
        num_ctx: int,
        threads: int = 0,
        placement: RunPlacement = ON_PROCESSOR,
        on_tensor: Callable[[Any, bool, Any], bool] | None = None,
    ) -> None:
        """``on_tensor`` is llama.cpp's ``cb_eval``.

        Raises:
            LoadError: llama.cpp refuses the model, or has no memory for it.
            UsageError: the model generates no text.
        """
        self._split = TensorSplit(placement.tensor_split, placement.num_host_experts)
        self.model = load_model(
            shards,
            native_log=native_log,
            num_gpu_layers=placement.num_gpu_layers,
            options=with_devices(LoadOptions(devices=placement.devices), AUTO),
            split=self._split,
            on_progress=_ignore,
        )
        if self.model.only_embeds or self.model.has_encoder:
            raise UsageError(
                f"{shards[0].name} is a model for embeddings or an encoder; only models that "
                "continue a text can be measured by one"
            )
        self.num_vocab = self.model.num_vocab
        self.num_rows = piece_size(self.num_vocab, num_ctx)
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = num_ctx
        params.n_seq_max = 1
        params.n_batch = params.n_ubatch = min(MAX_PIECE, num_ctx)
        params.n_outputs_max = self.num_rows
        params.n_threads = params.n_threads_batch = threads or usable_threads()
        if on_tensor is not None:
            self._callback = api.ggml_backend_sched_eval_callback(on_tensor)  # must live on
            params.cb_eval = self._callback
        self._context = llama_cpp.llama_init_from_model(self.model.handle, params)
        if not self._context:
            raise LoadError(f"no memory for a context of {num_ctx} tokens", hint="a smaller --ctx")
        self._batch = _TokenBatch(params.n_batch)

    @property
    def devices(self) -> list[str]:
        """Return the names of the devices that compute."""
        return [device.name for device in self.model.devices] or ["CPU"]

    def clear(self) -> None:
        """Forget all tokens."""
        clear_data = True
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self._context), clear_data)

    def read(self, tokens: np.ndarray, position: int, *, outputs: int = 0) -> np.ndarray:
        """Compute tokens from a position on; return the logits of the last ``outputs``.

        The tokens are at most one batch, the outputs at most `num_rows`: float32 of shape
        (outputs, num_vocab), valid until the next call.

        Raises:
            BackendError: llama.cpp fails.
        """
        code = llama_cpp.llama_decode(self._context, self._batch.fill(tokens, position, outputs))
        if code != 0:
            raise BackendError(f"llama.cpp failed to compute the text (code {code})")
        if not outputs:
            return np.empty((0, self.num_vocab), np.float32)
        pointer = llama_cpp.llama_get_logits(self._context)
        return np.ctypeslib.as_array(pointer, shape=(outputs, self.num_vocab))

    def logits(self, tokens: np.ndarray, first: int) -> Iterator[np.ndarray]:
        """Compute a chunk from an empty context; yield the logits of positions from ``first``."""
        self.clear()
        for position in range(0, first, MAX_PIECE):
            self.read(tokens[position : min(first, position + MAX_PIECE)], position)
        for position in range(first, len(tokens), self.num_rows):
            piece = tokens[position : position + self.num_rows]
            yield self.read(piece, position, outputs=len(piece))

    def wait(self) -> None:
        """Wait until llama.cpp has computed everything, for measurements of time."""
        llama_cpp.llama_synchronize(self._context)

    def close(self) -> None:
        """Free the context and the model."""
        llama_cpp.llama_free(self._context)
        self.model.close()


def piece_size(num_vocab: int, num_ctx: int) -> int:
    """Return how many tokens with logits are computed at once: a power of two."""
    fitting = max(MIN_PIECE, MAX_LOGIT_BYTES // (num_vocab * F32_BYTES))
    most = min(MAX_PIECE, num_ctx, fitting)
    return 1 << (most.bit_length() - 1)


def _ignore(_fraction: float) -> None:
    """Receive the progress of a load."""


class _TokenBatch:
    """A batch of one sequence, whose arrays are written by numpy."""

    def __init__(self, capacity: int) -> None:
        self._native = llama_cpp.llama_batch_init(capacity, 0, 1)
        fields = ("token", "pos", "n_seq_id", "logits")
        self._arrays = {
            name: np.ctypeslib.as_array(getattr(self._native, name), shape=(capacity,))
            for name in fields
        }
        self._arrays["n_seq_id"][:] = 1
        for index in range(capacity):
            self._native.seq_id[index][0] = ctypes.c_int32(0)

    def fill(self, tokens: np.ndarray, start: int, outputs: int) -> Any:  # noqa: ANN401 - a struct
        count = len(tokens)
        self._arrays["token"][:count] = tokens
        self._arrays["pos"][:count] = np.arange(start, start + count)
        self._arrays["logits"][:count] = 0
        if outputs:
            self._arrays["logits"][count - outputs : count] = 1
        self._native.n_tokens = count
        return self._native
