"""llama.cpp's context as the engine's backend: batch, decode, sampling and KV cache memory.

Misuse of llama.cpp aborts the process, so everything is checked before a native call: chunks
fit the batch, positions are contiguous (they are computed from ``num_computed``), slots are
below ``num_slots`` (the cache assigns them). Only one thread uses it, except `abort`, which
any thread may call.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import llama_cpp
from llama_cpp import llama_cpp as api

from localrun.engine.batch import Batch
from localrun.engine.cache.cached_prefixes import MAX_SEQUENCE_IDS
from localrun.engine.cache.cell_supply import CellSupply
from localrun.engine.cache.checkpoints import budget_for
from localrun.engine.cache.prefix_cache import PrefixCache
from localrun.engine.cache.state_cache import StateCache
from localrun.engine.context_params import has_quantized_cells, set_attention, set_rope
from localrun.engine.engine import AbortedError, OutOfCellsError
from localrun.engine.llama.lazy_buffers import lazy_buffers
from localrun.engine.llama.lora_adapters import AdapterCache
from localrun.engine.llama.native_context import (
    ALL,
    UNCUTTABLE,
    AbortFlag,
    read_slot,
    write_slot,
)
from localrun.engine.params import LoadOptions
from localrun.engine.sampling import StepSampler
from localrun.engine.sequence import slot_of
from localrun.engine.threads import ContextThreads
from localrun.errors import BackendError, LoadError
from localrun.hardware.cpu import free_host_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.engine.cache.kv_cache import KvCache
    from localrun.engine.llama.model import Model
    from localrun.engine.scheduler import ScheduledChunk, SchedulerLimits
    from localrun.engine.sequence import Sequence
    from localrun.engine.threads import ThreadGauge

NO_CELLS, ABORTED = 1, 2  # return codes of llama_decode
DEFAULT_OPTIONS = LoadOptions()


class LlamaContext:
    """A `Backend` and its `KvMemory`: ``num_cells`` cells shared by ``num_slots`` sequences."""

    def __init__(
        self,
        model: Model,
        limits: SchedulerLimits,
        *,
        num_threads: int,
        options: LoadOptions = DEFAULT_OPTIONS,
        gauge: ThreadGauge | None = None,
        free_bytes: Callable[[], int] = free_host_bytes,
    ) -> None:
        """``free_bytes`` returns the memory that is free for more cells."""
        self._model = model
        self._limits = limits
        self._free_bytes = free_bytes
        with lazy_buffers() as lazy:
            self._handle = _open(model, limits, num_threads, options)
        self._lazy_bytes = lazy.num_bytes
        self._threads = ContextThreads(self._handle, num_threads, gauge)
        self._memory = llama_cpp.llama_get_memory(self._handle)
        self._abort = AbortFlag(self._handle)
        self._batch = Batch(limits.step_tokens)
        self._sampler = StepSampler(model, self._handle)
        self._adapters = AdapterCache(model, self.use_adapters)

    @property
    def adapter_bytes(self) -> int:
        """Return the size of the loaded adapters."""
        return self._adapters.size_bytes

    @property
    def num_holders(self) -> int:
        """Return how many of llama.cpp's sequence ids hold a cell or a state."""
        ids = range(MAX_SEQUENCE_IDS if self._model.shares_cells else self._limits.num_slots)
        last = llama_cpp.llama_memory_seq_pos_max
        return sum(last(self._memory, seq_id) >= 0 for seq_id in ids)

    @property
    def num_samplers(self) -> int:
        """Return the number of sequences with a sampler chain."""
        return self._sampler.num_samplers

    def use_adapters(self, adapters: list[tuple[Any, float]]) -> None:
        """Apply loaded LoRA adapters, each with its scale, and no others."""
        set_adapters(self._handle, adapters)

    def open_cache(self) -> KvCache:
        """Return an empty cache on this memory, of the class that the model's memory allows."""
        num_slots, supply = self._limits.num_slots, self._cell_supply()
        budget = budget_for(self._model.size_bytes)
        if self._model.shares_cells:
            return PrefixCache(
                self,
                num_slots=num_slots,
                supply=supply,
                host_cache_bytes=max(budget, self._limits.host_cache_bytes),
            )
        return StateCache(
            self,
            num_slots=num_slots,
            supply=supply,
            kind=self._model.memory,
            message_ends=frozenset(self._model.eog),
            checkpoint_bytes=budget,
        )

    def forward(self, chunks: list[ScheduledChunk]) -> list[list[int]]:
        """Compute the chunks and sample for each that is last, see `Backend`.

        Raises:
            OutOfCellsError: the cache is full; llama.cpp has restored its state.
            AbortedError: `abort` was called.
            BackendError: the context is broken and must not be used again.
        """
        outputs = self._batch.fill(chunks)
        self._adapters.apply(chunks[0].seq.adapters)
        self._threads.adjust()
        code = llama_cpp.llama_decode(self._handle, self._batch.native)
        if code == NO_CELLS:
            raise OutOfCellsError
        if code == ABORTED:
            self._abort.clear()
            self._count_valid_cells(chunks)
            raise AbortedError
        if code != 0:
            raise BackendError(f"llama.cpp failed to decode (code {code})")
        for chunk, index in self._batch.prompt_outputs:  # first, because sampling changes logits
            self._sampler.score_prompt(chunk, index)
        return self._sampler.sample(outputs)

    def copy_cells(self, source: int, target: int, start: int, end: int) -> None:
        """Add ``target`` to the holders of the cells of ``source``; positions [start, end).

        Unless `Model.shares_cells`, the state of ``target`` must be restored before it is
        computed: llama.cpp copies the state of another position and would compute nonsense.
        """
        llama_cpp.llama_memory_seq_cp(self._memory, source, target, start, end)

    def remove_cells(self, seq_id: int, start: int, end: int) -> None:
        """Release cells of a sequence id; ``end`` -1 means up to the last one."""
        llama_cpp.llama_memory_seq_rm(self._memory, seq_id, start, end)

    def prepare(self, seq: Sequence) -> None:
        """Load the sequence's adapters."""
        self._adapters.acquire(seq.adapters)

    def save_sequence(self, seq_id: int) -> bytes:
        """Return the cells and the state of a sequence id; empty if llama.cpp cannot."""
        return bytes(read_slot(self._handle, seq_id, ALL))

    def restore_sequence(self, seq_id: int, data: bytes) -> bool:
        """Restore saved data into an empty sequence id; return False on failure."""
        return write_slot(self._handle, seq_id, ALL, memoryview(data))

    def save_state(self, slot: int) -> memoryview:
        """Return a copy of the part of a slot's memory that cannot be cut."""
        return read_slot(self._handle, slot, UNCUTTABLE)

    def restore_state(self, slot: int, data: memoryview) -> bool:
        """Replace that part of a slot's memory by a saved copy; return False on failure."""
        return write_slot(self._handle, slot, UNCUTTABLE, data)

    def retire(self, seq: Sequence) -> None:
        """Free the sequence's sampler chain, and release its adapters."""
        self._adapters.release(seq.adapters)
        self._sampler.retire(seq)

    def abort(self) -> None:
        """Abort the running decode call, if any; safe from any thread."""
        self._abort.set()

    def clear_abort(self) -> None:
        """Reset an `abort` that was called while nothing ran."""
        self._abort.clear()

    def close(self) -> None:
        """Free the native context, all sampler chains and adapters."""
        self._sampler.close()
        llama_cpp.llama_free(self._handle)
        self._adapters.close()

    def _cell_supply(self) -> CellSupply:
        """Return the supply of cells; GPU memory and recurrent states are taken at once."""
        num_cells = self._limits.num_cells
        is_lazy = self._model.memory.has_cells and not self._model.devices
        return CellSupply(
            num_cells,
            cell_bytes=self._lazy_bytes // num_cells if is_lazy else 0,
            free_bytes=self._free_bytes,
        )

    def _count_valid_cells(self, chunks: list[ScheduledChunk]) -> None:
        """Set ``num_computed`` after an aborted step.

        Attention leaves the cells of whole ubatches, with a window as well. A recurrent state
        may be at any position, which the cache corrects (`KvCache.recover`).
        """
        for chunk in chunks:
            if self._model.memory.has_state:
                continue
            if chunk.drafts:  # they were not verified
                self.remove_cells(slot_of(chunk.seq), chunk.seq.num_computed, -1)
            last = llama_cpp.llama_memory_seq_pos_max(self._memory, chunk.seq.slot)
            chunk.seq.num_computed = last + 1


def _open(model: Model, limits: SchedulerLimits, num_threads: int, options: LoadOptions) -> object:
    is_quantized = has_quantized_cells(options)
    if is_quantized and options.flash_attention is False:
        raise LoadError(
            f"kv_cache_type {options.cache_type} needs flash attention, which is switched off",
            hint="PARAMETER flash_attention on, or PARAMETER kv_cache_type f16",
        )
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = limits.num_cells
    params.n_batch = params.n_ubatch = limits.step_tokens
    # one more for the spare slot: llama.cpp saves no restorable cells for ids beyond n_seq_max
    params.n_seq_max = limits.num_slots + model.shares_cells
    params.n_outputs_max = (
        params.n_seq_max + limits.num_drafts
    )  # 0 would size the buffers for logits of every token
    params.kv_unified = True
    params.swa_full = False  # cells behind a window are freed, see StateCache
    params.n_threads = params.n_threads_batch = num_threads
    set_attention(params, options)
    set_rope(params, options)
    handle = llama_cpp.llama_init_from_model(model.handle, params)
    if not handle and is_quantized:
        raise LoadError(
            f"no context of {limits.num_cells} tokens with kv_cache_type {options.cache_type}: its"
            " blocks do not divide the model's heads, or there is no memory",
            hint="PARAMETER kv_cache_type f16, or a smaller num_ctx",
        )
    if not handle:
        raise LoadError(
            f"no memory for a context of {limits.num_cells} tokens",
            hint="use a smaller context: localrun run --ctx 2048 ...",
        )
    return handle


def set_adapters(handle: object, adapters: list[tuple[Any, float]]) -> None:
    """Apply loaded LoRA adapters to a context, each with its scale, and no others."""
    count = len(adapters)
    handles = (ctypes.c_void_p * count)(
        *(ctypes.cast(adapter, ctypes.c_void_p).value for adapter, _ in adapters)
    )
    scales = (ctypes.c_float * count)(*(scale for _, scale in adapters))
    array = ctypes.cast(handles, ctypes.POINTER(api.llama_adapter_lora_p_ctypes))
    if llama_cpp.llama_set_adapters_lora(handle, array, count, scales) != 0:
        raise BackendError("llama.cpp does not take the adapters")
