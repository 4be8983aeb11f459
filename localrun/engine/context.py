"""llama.cpp's contexts as the engine's backend: batch, decode, sampling and KV cache memory.

One context has unified cells. While sequences run that share little or are long, another one over
the same weights has a stream of cells for each (`SwitchingCache`), and decodes instead.

Misuse of llama.cpp aborts the process, so everything is checked before a native call: chunks
fit the batch, positions are contiguous (they are computed from ``num_computed``), slots are
below ``num_slots`` (the cache assigns them). Only one thread uses it, except `abort`, which
any thread may call.
"""

from __future__ import annotations

import ctypes
import logging
from functools import partial
from typing import TYPE_CHECKING, Any

import llama_cpp
from llama_cpp import llama_cpp as api

from localrun.engine.batch import Batch
from localrun.engine.cache.cached_prefixes import MAX_SEQUENCE_IDS
from localrun.engine.cache.cell_supply import FREE_FACTOR, CellSupply
from localrun.engine.cache.checkpoints import budget_for
from localrun.engine.cache.layout_rule import LayoutRule
from localrun.engine.cache.prefix_cache import PrefixCache
from localrun.engine.cache.state_cache import StateCache
from localrun.engine.cache.switching_cache import SwitchingCache
from localrun.engine.context_params import (
    open_context,
    open_stream_context,
    score_bytes,
    tile_tokens,
    transposed_from,
)
from localrun.engine.engine import AbortedError, OutOfCellsError
from localrun.engine.llama.lora_adapters import AdapterCache
from localrun.engine.llama.memory.lazy_buffers import lazy_buffers
from localrun.engine.llama.memory.value_layout import has_known_format
from localrun.engine.llama.native_context import AbortFlag, NativeContext
from localrun.engine.media.embedding_batch import EmbeddingBatch
from localrun.engine.media.skipped_positions import NONE, SkippedPositions
from localrun.engine.params import LoadOptions
from localrun.engine.sampling import StepSampler
from localrun.engine.sequence import slot_of
from localrun.engine.threads import ContextThreads
from localrun.errors import BackendError
from localrun.hardware.cpu import free_host_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.engine.cache.kv_cache import KvCache
    from localrun.engine.cache.stream_memory import StreamMemory
    from localrun.engine.llama.model import Model
    from localrun.engine.media.text_rows import TextRows
    from localrun.engine.scheduler import ScheduledChunk, SchedulerLimits
    from localrun.engine.sequence import Sequence
    from localrun.engine.speculation.mtp_layers import MtpLayers
    from localrun.engine.threads import ThreadGauge

_log = logging.getLogger(__name__)

NO_CELLS, ABORTED = 1, 2  # return codes of llama_decode
DEFAULT_OPTIONS = LoadOptions()


class LlamaContext:
    """A `Backend`: ``num_cells`` cells shared by ``num_slots`` sequences."""

    def __init__(  # noqa: PLR0913 - one for each part that a test replaces
        self,
        model: Model,
        limits: SchedulerLimits,
        *,
        num_threads: int,
        options: LoadOptions = DEFAULT_OPTIONS,
        gauge: ThreadGauge | None = None,
        free_bytes: Callable[[], int] = free_host_bytes,
        skipped: SkippedPositions = NONE,
        text_rows: TextRows | None = None,
        mtp: MtpLayers | None = None,
    ) -> None:
        """``free_bytes`` returns the memory that is free for more cells.

        ``text_rows`` are needed by sequences whose media join tiles. ``mtp`` gets the hidden states
        of all tokens.
        """
        self._mtp = mtp
        self._model = model
        self._limits = limits
        self._free_bytes = free_bytes
        self._skipped = skipped
        self._text_rows = text_rows
        with lazy_buffers() as lazy:
            self._unified = NativeContext(open_context(model, limits, num_threads, options))
        if mtp is not None:
            mtp.features.keep(self._unified.handle)
        self._streams: NativeContext | None = None
        self._lazy_bytes, self._compute_bytes = lazy.num_bytes, lazy.num_all_bytes - lazy.num_bytes
        # heads read the inputs of layers, which are not known to be the same for both attentions
        self._transposed_from = None if mtp is not None else transposed_from(model, options)
        self._tile_tokens = tile_tokens(model, options)
        self._knows_format: bool | None = None  # of saved cells
        self.stream_cells = self._longest_stream()
        self._open_streams = partial(open_stream_context, model, limits, num_threads, options)
        self._open_threads = partial(ContextThreads, max_threads=num_threads, gauge=gauge)
        self._threads = self._unified_threads = self._open_threads(self._unified.handle)
        self._abort = AbortFlag(self._unified.handle)
        self._batch = Batch(limits.step_tokens)
        self._sampler = StepSampler(model, self._unified.handle)
        self._adapters = AdapterCache(model, self.use_adapters)

    @property
    def num_streams(self) -> int:
        """Return how many streams a context with streams has."""
        return self._limits.num_slots

    @property
    def adapter_bytes(self) -> int:
        """Return the size of the loaded adapters."""
        return self._adapters.size_bytes

    @property
    def num_holders(self) -> int:
        """Return how many of llama.cpp's sequence ids hold a cell or a state."""
        ids = range(MAX_SEQUENCE_IDS if self._model.shares_cells else self._limits.num_slots)
        num_unified = sum(self._unified.last_position(seq_id) >= 0 for seq_id in ids)
        slots = range(self._limits.num_slots) if self._streams else ()
        return num_unified + sum(self._active.last_position(slot) >= 0 for slot in slots)

    @property
    def num_samplers(self) -> int:
        """Return the number of sequences with a sampler chain."""
        return self._sampler.num_samplers

    def use_adapters(self, adapters: list[tuple[Any, float]]) -> None:
        """Apply loaded LoRA adapters, each with its scale, and no others."""
        set_adapters(self._unified.handle, adapters)

    def open_cache(self) -> KvCache:
        """Return an empty cache on this memory, of the class that the model's memory allows."""
        num_slots, supply = self._limits.num_slots, self._cell_supply()
        budget = budget_for(self._model.size_bytes)
        if self._model.shares_cells:
            cache = PrefixCache(
                self._unified,
                num_slots=num_slots,
                supply=supply,
                host_cache_bytes=max(budget, self._limits.host_cache_bytes),
                skipped=self._skipped,
                tile_tokens=self._tile_tokens,
            )
            rule = LayoutRule(self._transposed_from)
            return SwitchingCache(cache, self, rule) if self.stream_cells else cache
        return StateCache(
            self._unified,
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
        if chunks[0].seq.is_at_medium:
            return self._forward_media(chunks)
        outputs = self._batch.fill(chunks)
        self._decode(self._batch.native, chunks)
        if self._mtp is not None:
            self._pass_hidden_states(self._mtp, chunks)
        for chunk, index in self._batch.prompt_outputs:  # first, because sampling changes logits
            self._sampler.score_prompt(chunk, index)
        return self._sampler.sample(outputs)

    def open_streams(
        self, num_cells: int, num_copied: int, *, is_transposed: bool
    ) -> NativeContext | None:
        """Open the context with streams, which decodes until `close_streams`; see `StreamContexts`.

        Its cells take memory when they are used, as those of the other context do.
        """
        num_bytes = (num_cells + num_copied) * self._cell_bytes + self._compute_bytes
        if is_transposed and not self._can_transpose():
            return None
        if is_transposed:
            num_bytes += score_bytes(self._model, self.stream_cells)
        if self._free_bytes() < FREE_FACTOR * num_bytes:
            return None
        with lazy_buffers():
            handle = self._open_streams(self.stream_cells, is_transposed=is_transposed)
        if handle is None:
            return None
        if self._mtp is not None:
            self._mtp.features.keep(handle)
        self._streams = NativeContext(
            handle, num_streams=self._limits.num_slots, is_transposed=is_transposed
        )
        self._abort.attach(handle)
        self._threads = self._open_threads(handle)
        self._sampler.read_logits_of(handle)
        return self._streams

    def _can_transpose(self) -> bool:
        """Return whether saved cells can be converted, verified once with those of a sequence."""
        if self._knows_format is None:
            slots = range(self._limits.num_slots)
            slot = next(slot for slot in slots if self._active.last_position(slot) >= 0)
            self._knows_format = has_known_format(memoryview(self._active.borrow_sequence(slot)))
            if not self._knows_format:
                _log.warning("values are not transposed: llama.cpp saves cells in another format")
        return self._knows_format

    def close_streams(self, memory: StreamMemory) -> None:
        """Free a context with streams; if it decoded, the one with unified cells does again."""
        if memory is self._streams:
            self._threads = self._unified_threads
            self._sampler.read_logits_of(self._unified.handle)
            self._streams = None
        memory.close()
        self._unified.drop_scratch()

    def drop_copies(self) -> None:
        """Free the memory of cells that were saved and restored."""
        for native in (self._unified, self._streams):
            if native is not None:
                native.drop_scratch()

    def prepare(self, seq: Sequence) -> None:
        """Load the sequence's adapters."""
        self._adapters.acquire(seq.adapters)

    def retire(self, seq: Sequence) -> None:
        """Free the sequence's sampler chain, and release its adapters."""
        self._batch.forget_chunks()
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
        if self._streams is not None:
            self.close_streams(self._streams)
        self._unified.close()
        self._adapters.close()

    def _pass_hidden_states(self, mtp: MtpLayers, chunks: list[ScheduledChunk]) -> None:
        """Let the MTP layers keep the hidden states of a step."""
        total = sum(chunk.num_cells for chunk in chunks)
        states, start = mtp.features.read(self._active.handle, total), 0
        for chunk in self._batch.in_order(chunks):
            mtp.observe(chunk, states[start : start + chunk.num_cells])
            start += chunk.num_cells

    def _forward_media(self, chunks: list[ScheduledChunk]) -> list[list[int]]:
        """Compute embeddings of media; a chunk that is not causal is computed in one ubatch."""
        batch = EmbeddingBatch(chunks, self._text_rows)
        handle = self._active.handle
        llama_cpp.llama_set_causal_attn(handle, batch.is_causal)
        try:
            self._decode(batch.native, chunks)
        finally:
            llama_cpp.llama_set_causal_attn(handle, True)  # noqa: FBT003 - a C function
        return self._sampler.sample(batch.outputs)

    def _decode(self, batch: Any, chunks: list[ScheduledChunk]) -> None:  # noqa: ANN401 - a struct
        if self._streams is None:
            self._adapters.apply(chunks[0].seq.adapters)
        self._threads.adjust()
        code = llama_cpp.llama_decode(self._active.handle, batch)
        if code == NO_CELLS:
            raise OutOfCellsError
        if code == ABORTED:
            self._abort.clear()
            self._count_valid_cells(chunks)
            raise AbortedError
        if code != 0:
            raise BackendError(f"llama.cpp failed to decode (code {code})")

    @property
    def _active(self) -> NativeContext:
        """Return the context that decodes."""
        return self._streams or self._unified

    @property
    def _is_lazy(self) -> bool:
        """Return whether cells take memory when they are used: not on GPUs, and not states."""
        return self._model.memory.has_cells and not self._model.devices and self._lazy_bytes > 0

    @property
    def _cell_bytes(self) -> int:
        return self._lazy_bytes // self._limits.num_cells

    def _longest_stream(self) -> int:
        """Return how many tokens of a sequence fit into a stream; 0 if there can be no streams.

        Memory that is taken at once would not suffice for two contexts. LongRoPE computes with
        other factors in a context of another size. The kernel refuses to reserve more than the
        machine has, though little of it will be used.
        """
        architecture = self._model.metadata("general.architecture")
        scaling = self._model.metadata(f"{architecture}.rope.scaling.type")
        num_slots = self._limits.num_slots
        is_useful = num_slots > 1 or self._transposed_from is not None
        is_wanted = self._limits.stream_cells > 0 and is_useful
        if not is_wanted or not self._is_lazy or scaling == "longrope":
            return 0
        reservable = self._free_bytes() // (num_slots * self._cell_bytes)
        return max(0, min(self._limits.stream_cells, reservable - self._limits.num_drafts))

    def _cell_supply(self) -> CellSupply:
        return CellSupply(
            self._limits.num_cells,
            cell_bytes=self._cell_bytes if self._is_lazy else 0,
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
            seq, slot = chunk.seq, slot_of(chunk.seq)
            if self._drop_begun_image(seq):
                continue
            position = seq.position_at(seq.num_computed)
            if chunk.drafts or seq.wants_prompt_logprobs:  # not verified, or not scored
                self._active.remove_cells(slot, position, -1)
            # behind an image with M-RoPE, the last position is the image's first
            seq.num_computed += max(0, self._active.last_position(slot) + 1 - position)
            if seq.num_computed >= len(seq.tokens):  # nothing was sampled behind the last token
                seq.num_computed = len(seq.tokens) - 1
                self._active.remove_cells(slot, seq.position_at(seq.num_computed), -1)

    def _drop_begun_image(self, seq: Sequence) -> bool:
        """Remove the cells of the image that an aborted step was computing with M-RoPE.

        All cells of the image have one position, which does not tell how many of them are valid.
        """
        placed = seq.media.at(seq.num_computed) if seq.media else None
        if placed is None or not placed.chunk.shape.has_mrope:
            return False
        seq.num_computed = placed.start
        self._active.remove_cells(slot_of(seq), seq.position_at(placed.start), -1)
        return True


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
