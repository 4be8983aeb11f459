"""Opening of generating contexts, and parameters that embedding contexts share with them.

The parameters come from the options of a load: KV cache type, attention, RoPE.
"""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Any

import llama_cpp
from llama_cpp import llama_cpp as api

from localrun.engine.params import TILE_TOKENS, CacheType, RopeScaling
from localrun.errors import LoadError

if TYPE_CHECKING:
    from localrun.engine.llama.model import Model
    from localrun.engine.params import LoadOptions
    from localrun.engine.scheduler import SchedulerLimits

CACHE_TYPES = {
    CacheType.F32: api.GGML_TYPE_F32,
    CacheType.F16: api.GGML_TYPE_F16,
    CacheType.BF16: 30,  # GGML_TYPE_BF16, which the bindings lack
    CacheType.Q8_0: api.GGML_TYPE_Q8_0,
    CacheType.Q5_1: api.GGML_TYPE_Q5_1,
    CacheType.Q5_0: api.GGML_TYPE_Q5_0,
    CacheType.Q4_1: api.GGML_TYPE_Q4_1,
    CacheType.Q4_0: api.GGML_TYPE_Q4_0,
    CacheType.IQ4_NL: api.GGML_TYPE_IQ4_NL,
}
PLAIN_TYPES = {CacheType.F32, CacheType.F16, CacheType.BF16}
X86 = {"x86_64", "amd64"}
SCORED_TOKENS = 128  # of a call without flash attention
FLOAT_BYTES = 4
CACHE_BYTES = 2**20  # of a processor's core, at its second level
LEAST_PART = 128  # tokens of a part of a step: with fewer, the weights are read too often
CELLS_FOR_A_VALUE = 10  # whose reading saves a head as much as writing a value costs
FREE_VALUES, MIN_TRANSPOSED = 26, 64  # values of a head that cost little; tokens
ROPE_NUMBERS = (  # fields of the same name in llama.cpp
    "rope_freq_base", "rope_freq_scale", "yarn_orig_ctx", "yarn_ext_factor", "yarn_attn_factor",
    "yarn_beta_fast", "yarn_beta_slow",
)  # fmt: skip
ROPE_SCALINGS = {
    RopeScaling.NONE: api.LLAMA_ROPE_SCALING_TYPE_NONE,
    RopeScaling.LINEAR: api.LLAMA_ROPE_SCALING_TYPE_LINEAR,
    RopeScaling.YARN: api.LLAMA_ROPE_SCALING_TYPE_YARN,
    RopeScaling.LONGROPE: api.LLAMA_ROPE_SCALING_TYPE_LONGROPE,
}


def open_context(
    model: Model, limits: SchedulerLimits, num_threads: int, options: LoadOptions
) -> object:
    """Return the handle of a context with unified cells.

    Raises:
        LoadError: no memory, or the options contradict each other or the model.
    """
    is_quantized = has_quantized_cells(options)
    if is_quantized and options.flash_attention is False:
        raise LoadError(
            f"kv_cache_type {options.cache_type} needs flash attention, which is switched off",
            hint="PARAMETER flash_attention on, or PARAMETER kv_cache_type f16",
        )
    params = _params(model, limits, num_threads, options)
    # one more for the spare slot: llama.cpp saves no restorable cells for ids beyond n_seq_max
    params.n_seq_max = limits.num_slots + model.shares_cells
    params.n_ctx = limits.num_cells
    params.kv_unified = True
    params.swa_full = False  # cells behind a window are freed, see StateCache
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


def open_stream_context(
    model: Model,
    limits: SchedulerLimits,
    num_threads: int,
    options: LoadOptions,
    stream_cells: int,
    *,
    is_transposed: bool,
) -> object | None:
    """Return the handle of a context with a stream of cells for each slot, or None on failure.

    ``is_transposed`` switches flash attention off. Its scores take memory for each token of a call
    and each cell, so that fewer tokens are computed together.
    """
    params = _params(model, limits, num_threads, options)
    if is_transposed:
        params.flash_attn_type = api.LLAMA_FLASH_ATTN_TYPE_DISABLED
        params.n_ubatch = min(SCORED_TOKENS, limits.step_tokens)
    params.n_seq_max = limits.num_slots
    # llama.cpp divides it by the slots; drafts of a step need cells too
    params.n_ctx = limits.num_slots * (stream_cells + limits.num_drafts)
    params.kv_unified = False
    return llama_cpp.llama_init_from_model(model.handle, params) or None


def transposed_from(model: Model, options: LoadOptions) -> int | None:
    """Return from how many tokens of a sequence on attention with transposed values is faster.

    None means never: on processors where that is not known, and with options that decide it. What
    a value costs to be written transposed is weighed against what each head saves at each cell.
    """
    architecture = model.metadata("general.architecture")
    is_open = options.flash_attention is None and options.cache_type in {None, CacheType.F16}
    has_latent_values = model.metadata(f"{architecture}.attention.kv_lora_rank")
    if (
        not (is_open and model.shares_cells)
        or has_latent_values
        or platform.machine().lower() not in X86
    ):
        return None
    num_heads = int(llama_cpp.llama_model_n_head(model.handle))
    if not num_heads:
        return None
    length = model.metadata(f"{architecture}.attention.value_length")
    head_values = int(length) if length else llama_cpp.llama_model_n_embd(model.handle) // num_heads
    num_values = int(llama_cpp.llama_model_n_head_kv(model.handle)) * head_values
    return max(MIN_TRANSPOSED, CELLS_FOR_A_VALUE * (num_values // num_heads - FREE_VALUES))


def part_tokens(model: Model, step_tokens: int) -> int:
    """Return how many tokens of a step llama.cpp computes together.

    The widest activations of a small model then stay in the cache of a core: guide (768 numbers a
    token) computes prompts 1.12 to 1.27 times as fast by 256 tokens as by 512. Those of others do
    not, and their prompts take as long by 128 tokens as by 512. Experts need many tokens.
    """
    architecture = model.metadata("general.architecture")
    width = model.metadata(f"{architecture}.feed_forward_length")
    has_experts = bool(model.metadata(f"{architecture}.expert_count"))
    is_known = width.isdecimal() and int(width) > 0
    if model.devices or not model.shares_cells or has_experts or not is_known:
        return step_tokens
    num_fitting = CACHE_BYTES // (FLOAT_BYTES * int(width))
    if num_fitting < LEAST_PART:
        return step_tokens
    return int(min(step_tokens, 2 ** (num_fitting.bit_length() - 1)))


def tile_tokens(model: Model, options: LoadOptions) -> int:
    """Return how many tokens of a prompt attention computes together; 0 if it has no tiles.

    Those are of flash attention on a processor, with cells of F16 or F32.
    """
    has_tiles = options.cache_type in {None, CacheType.F16, CacheType.F32}
    is_flash = options.flash_attention is not False
    return TILE_TOKENS if has_tiles and is_flash and not model.devices else 0


def score_bytes(model: Model, num_cells: int) -> int:
    """Return the memory of scores without flash attention, of the tokens of one call."""
    return SCORED_TOKENS * num_cells * int(llama_cpp.llama_model_n_head(model.handle)) * FLOAT_BYTES


def has_quantized_cells(options: LoadOptions) -> bool:
    """Return whether the KV cache is quantized."""
    return options.cache_type is not None and options.cache_type not in PLAIN_TYPES


def set_attention(params: Any, options: LoadOptions) -> None:  # noqa: ANN401 - a struct
    """Set the KV cache type and flash attention."""
    kind = options.cache_type
    if kind is not None:
        params.type_k = params.type_v = CACHE_TYPES[kind]
    is_wanted = options.flash_attention
    if is_wanted is None and has_quantized_cells(options):
        is_wanted = True  # llama.cpp supports quantized values only with it
    if is_wanted is not None:
        params.flash_attn_type = (
            api.LLAMA_FLASH_ATTN_TYPE_ENABLED if is_wanted else api.LLAMA_FLASH_ATTN_TYPE_DISABLED
        )


def set_rope(params: Any, options: LoadOptions) -> None:  # noqa: ANN401 - a struct
    """Set the RoPE parameters that the options name."""
    for name in ROPE_NUMBERS:
        value = getattr(options, name)
        if value is not None:
            setattr(params, name, value)
    if options.rope_scaling is not None:
        params.rope_scaling_type = ROPE_SCALINGS[options.rope_scaling]


def _params(model: Model, limits: SchedulerLimits, num_threads: int, options: LoadOptions) -> Any:  # noqa: ANN401 - a struct
    params = llama_cpp.llama_context_default_params()
    params.n_batch, params.n_ubatch = limits.step_tokens, limits.part_tokens or limits.step_tokens
    params.n_rs_seq = limits.num_rollback
    # 0 would size the buffers for logits of every token
    params.n_outputs_max = limits.num_slots + model.shares_cells + limits.num_drafts
    params.n_threads = params.n_threads_batch = num_threads
    set_attention(params, options)
    set_rope(params, options)
    return params
