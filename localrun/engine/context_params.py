"""Parameters of llama.cpp's contexts from the options of a load: KV cache type, attention, RoPE.

Shared by generating and embedding contexts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llama_cpp import llama_cpp as api

from localrun.engine.params import CacheType, RopeScaling

if TYPE_CHECKING:
    from localrun.engine.params import LoadOptions

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
