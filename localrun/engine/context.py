"""llama.cpp's context as the engine's backend: batch, decode, sample, cells.

Misuse of llama.cpp aborts the process, so everything is checked before a native
call: rows fit the batch, positions follow each other (they are computed from
``num_computed``), slots are below ``num_slots`` (the cache gives them out). One
thread uses it, but for `abort`, which any thread may call.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import llama_cpp
from llama_cpp import llama_cpp as api

from localrun.engine.batch import Batch
from localrun.engine.cache.checkpoints import budget_for
from localrun.engine.cache.prefix_cache import MOST_HOLDERS, PrefixCache, slot_of
from localrun.engine.cache.state_cache import StateCache
from localrun.engine.engine import AbortedError, OutOfCellsError
from localrun.engine.llama.lora_adapters import AdapterCache
from localrun.engine.llama.native_context import (
    ALL,
    UNCUTTABLE,
    AbortFlag,
    read_slot,
    write_slot,
)
from localrun.engine.params import CacheType, LoadOptions, RopeScaling
from localrun.engine.sampling import StepSampler
from localrun.engine.threads import ContextThreads
from localrun.errors import BackendError, LoadError

if TYPE_CHECKING:
    from localrun.engine.llama.model import Model
    from localrun.engine.scheduler import ScheduledChunk, SchedulerLimits
    from localrun.engine.sequence import Sequence
    from localrun.engine.threads import ThreadGauge

NO_CELLS, ABORTED = 1, 2
CACHE_TYPES = {
    CacheType.F32: api.GGML_TYPE_F32,
    CacheType.F16: api.GGML_TYPE_F16,
    CacheType.BF16: 30,  # GGML_TYPE_BF16, which the bindings leave out
    CacheType.Q8_0: api.GGML_TYPE_Q8_0,
    CacheType.Q5_1: api.GGML_TYPE_Q5_1,
    CacheType.Q5_0: api.GGML_TYPE_Q5_0,
    CacheType.Q4_1: api.GGML_TYPE_Q4_1,
    CacheType.Q4_0: api.GGML_TYPE_Q4_0,
    CacheType.IQ4_NL: api.GGML_TYPE_IQ4_NL,
}
PLAIN_TYPES = {CacheType.F32, CacheType.F16, CacheType.BF16}
DEFAULT_OPTIONS = LoadOptions()
ROPE_NUMBERS = (  # of the same name in llama.cpp
    "rope_freq_base", "rope_freq_scale", "yarn_orig_ctx", "yarn_ext_factor", "yarn_attn_factor",
    "yarn_beta_fast", "yarn_beta_slow",
)  # fmt: skip
ROPE_SCALINGS = {
    RopeScaling.NONE: api.LLAMA_ROPE_SCALING_TYPE_NONE,
    RopeScaling.LINEAR: api.LLAMA_ROPE_SCALING_TYPE_LINEAR,
    RopeScaling.YARN: api.LLAMA_ROPE_SCALING_TYPE_YARN,
    RopeScaling.LONGROPE: api.LLAMA_ROPE_SCALING_TYPE_LONGROPE,
}


class LlamaContext:
    """A KV cache of ``num_cells`` shared by ``num_slots`` sequences, and its batch."""

    def __init__(
        self,
        model: Model,
        limits: SchedulerLimits,
        *,
        num_threads: int,
        options: LoadOptions = DEFAULT_OPTIONS,
        gauge: ThreadGauge | None = None,
    ) -> None:
        self._model = model
        self._limits = limits
        self._handle = _open(model, limits, num_threads, options)
        self._threads = ContextThreads(self._handle, num_threads, gauge)
        self._memory = llama_cpp.llama_get_memory(self._handle)
        self._abort = AbortFlag(self._handle)
        self._batch = Batch(limits.step_tokens)
        self._drawing = StepSampler(model, self._handle)
        self._adapters = AdapterCache(model, self.use_adapters)

    @property
    def adapter_bytes(self) -> int:
        """Return the bytes of the adapters that are loaded."""
        return self._adapters.size_bytes

    @property
    def num_holders(self) -> int:
        """Return how many of llama.cpp's sequences hold a cell or a state."""
        ids = range(MOST_HOLDERS if self._model.shares_cells else self._limits.num_slots)
        last = llama_cpp.llama_memory_seq_pos_max
        return sum(last(self._memory, holder) >= 0 for holder in ids)

    @property
    def num_samplers(self) -> int:
        """Return how many sequences draw."""
        return self._drawing.num_samplers

    def use_adapters(self, adapters: list[tuple[Any, float]]) -> None:
        """Add the loaded LoRA adapters, each times its scale, to the weights."""
        set_adapters(self._handle, adapters)

    def open_cache(self) -> PrefixCache | StateCache:
        """Return an empty cache over these cells, of the kind that the model's memory allows."""
        num_slots, num_cells = self._limits.num_slots, self._limits.num_cells
        budget = budget_for(self._model.size_bytes)
        if self._model.shares_cells:
            attic = max(budget, self._limits.attic_bytes)
            return PrefixCache(self, num_slots=num_slots, num_cells=num_cells, attic_bytes=attic)
        return StateCache(
            self,
            num_slots=num_slots,
            num_cells=num_cells,
            memory=self._model.memory,
            ends=self._model.eog,
            budget_bytes=budget,
        )

    def forward(self, rows: list[ScheduledChunk]) -> list[list[int]]:
        """Compute the rows and draw tokens for each that is complete, see `Backend`.

        Raises:
            OutOfCellsError: the cache is full; llama.cpp has restored its state.
            AbortedError: `abort` was called.
            BackendError: the context is broken and must not be used again.
        """
        outputs = self._batch.fill(rows)
        self._adapters.apply(rows[0].seq.adapters)
        self._threads.adjust()
        code = llama_cpp.llama_decode(self._handle, self._batch.native)
        if code == NO_CELLS:
            raise OutOfCellsError
        if code == ABORTED:
            self._abort.clear()
            self._synchronize(rows)
            raise AbortedError
        if code != 0:
            raise BackendError(f"llama.cpp failed to decode (code {code})")
        for row, index in self._batch.weighed:  # first: to draw changes logits
            self._drawing.weigh(row, index)
        return self._drawing.draw(outputs)

    def copy(self, source: int, target: int, start: int, end: int) -> None:
        """Let ``target`` hold the cells of ``source`` too; positions [start, end).

        Where not `Model.shares_cells`, what cannot be cut must be restored before ``target``
        is computed: llama.cpp copies it from another position and computes nonsense later.
        """
        llama_cpp.llama_memory_seq_cp(self._memory, source, target, start, end)

    def remove(self, holder: int, start: int, end: int) -> None:
        """Let ``holder`` hold these cells no more; ``end`` -1 means all that follow."""
        llama_cpp.llama_memory_seq_rm(self._memory, holder, start, end)

    def prepare(self, seq: Sequence) -> None:
        """Load the sequence's adapters."""
        self._adapters.acquire(seq.adapters)

    def save(self, slot: int) -> bytes:
        """Return the cells and the state of a slot."""
        return bytes(read_slot(self._handle, slot, ALL))

    def restore(self, slot: int, data: bytes) -> bool:
        """Put what `save` returned into an empty slot; False when it cannot."""
        return write_slot(self._handle, slot, ALL, memoryview(data))

    def save_part(self, slot: int) -> memoryview:
        """Return a copy of the part of a slot's memory that cannot be cut."""
        return read_slot(self._handle, slot, UNCUTTABLE)

    def restore_part(self, slot: int, data: memoryview) -> bool:
        """Put what `save_part` returned in the place of what a slot has; False when it cannot."""
        return write_slot(self._handle, slot, UNCUTTABLE, data)

    def retire(self, seq: Sequence) -> None:
        """Free the sequence's sampler, and let its adapters go."""
        self._adapters.release(seq.adapters)
        self._drawing.retire(seq)

    def abort(self) -> None:
        """Break off the decode that runs, if one does; safe from any thread."""
        self._abort.set()

    def clear_abort(self) -> None:
        """Forget an `abort` that came when nothing ran."""
        self._abort.clear()

    def close(self) -> None:
        """Free the cache and all samplers."""
        self._drawing.close()
        llama_cpp.llama_free(self._handle)
        self._adapters.close()

    def _synchronize(self, rows: list[ScheduledChunk]) -> None:
        """Learn how far an aborted step came.

        Attention keeps the cells of whole ubatches, also through a window. A recurrent
        state may be half-way anywhere.
        """
        for row in rows:
            if self._model.memory.has_state:
                continue
            if row.drafts:  # guesses that nobody has checked
                self.remove(slot_of(row.seq), row.seq.num_computed, -1)
            last = llama_cpp.llama_memory_seq_pos_max(self._memory, row.seq.slot)
            row.seq.num_computed = last + 1


def _open(model: Model, limits: SchedulerLimits, num_threads: int, options: LoadOptions) -> object:
    is_quantized = options.cache_type is not None and options.cache_type not in PLAIN_TYPES
    if is_quantized and options.flash_attention is False:
        raise LoadError(
            f"kv_cache_type {options.cache_type} needs flash attention, which is switched off",
            hint="PARAMETER flash_attention auto, or PARAMETER kv_cache_type f16",
        )
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = limits.num_cells
    params.n_batch = params.n_ubatch = limits.step_tokens
    # one more for copies: llama.cpp writes no cells that can be read again for other ids
    params.n_seq_max = limits.num_slots + model.shares_cells
    params.n_outputs_max = (
        params.n_seq_max + limits.num_drafts
    )  # 0 would size the buffers for logits of every token
    params.kv_unified = True
    params.swa_full = False  # what a window has left behind is nobody's: see StateCache
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
    """Let a context add the loaded LoRA adapters, each times its scale, to the weights."""
    count = len(adapters)
    handles = (ctypes.c_void_p * count)(
        *(ctypes.cast(adapter, ctypes.c_void_p).value for adapter, _ in adapters)
    )
    scales = (ctypes.c_float * count)(*(scale for _, scale in adapters))
    array = ctypes.cast(handles, ctypes.POINTER(api.llama_adapter_lora_p_ctypes))
    if llama_cpp.llama_set_adapters_lora(handle, array, count, scales) != 0:
        raise BackendError("llama.cpp does not take the adapters")


def set_attention(params: Any, options: LoadOptions) -> None:  # noqa: ANN401 - a struct
    """Write how keys and values are stored and computed with."""
    kind = options.cache_type
    if kind is not None:
        params.type_k = params.type_v = CACHE_TYPES[kind]
    is_wanted = options.flash_attention
    if is_wanted is None and kind is not None and kind not in PLAIN_TYPES:
        is_wanted = True  # llama.cpp has quantized values with it only
    if is_wanted is not None:
        params.flash_attn_type = (
            api.LLAMA_FLASH_ATTN_TYPE_ENABLED if is_wanted else api.LLAMA_FLASH_ATTN_TYPE_DISABLED
        )


def set_rope(params: Any, options: LoadOptions) -> None:  # noqa: ANN401 - a struct
    """Write how positions are told."""
    for name in ROPE_NUMBERS:
        value = getattr(options, name)
        if value is not None:
            setattr(params, name, value)
    if options.rope_scaling is not None:
        params.rope_scaling_type = ROPE_SCALINGS[options.rope_scaling]
