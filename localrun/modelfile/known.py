"""Table of the parameters of a Modelfile: names, kinds, ranges.

It has all of Ollama's parameters, and settings of the engine that Ollama lacks. A range includes
both ends. The API's options have the same ranges (``server/parsing/options.py``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from localrun.load_rules import CACHE_TYPES

Kind = Literal["int", "float", "bool", "string", "list", "duration", "enum"]

LARGEST_INTEGER = 2**63 - 1
HOTTEST = 100.0
MIN_PENALTY = 0.01  # logits are divided by it
LARGEST = 1e9  # for parameters without a natural limit
OVERFLOWS = ("error", "shift", "drop")
NEGLECTED = "Ollama ignores it, and so does localrun"


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterSpec:
    """A parameter; ``low`` and ``high`` apply to numbers only."""

    name: str
    kind: Kind
    about: str
    low: float = -LARGEST_INTEGER
    high: float = LARGEST_INTEGER
    choices: tuple[str, ...] = ()
    deprecated: str | None = None  # reason; the value is checked and dropped
    is_context: bool = False  # may be written as 32k or 1M
    removed: str | None = None  # reason; the parameter is refused, as in Ollama


def _whole(
    name: str, about: str, low: int = -LARGEST_INTEGER, high: int = LARGEST_INTEGER
) -> ParameterSpec:
    return ParameterSpec(name=name, kind="int", about=about, low=low, high=high)


def _context(name: str, about: str) -> ParameterSpec:
    return ParameterSpec(name=name, kind="int", about=about, low=0, is_context=True)


def _number(name: str, about: str, low: float, high: float) -> ParameterSpec:
    return ParameterSpec(name=name, kind="float", about=about, low=low, high=high)


def _choice(name: str, about: str, choices: tuple[str, ...]) -> ParameterSpec:
    return ParameterSpec(name=name, kind="enum", about=about, choices=choices)


def _deprecated(name: str, kind: Kind = "bool") -> ParameterSpec:
    return ParameterSpec(name=name, kind=kind, about="nothing", deprecated=NEGLECTED)


def _removed(name: str, reason: str) -> ParameterSpec:
    return ParameterSpec(name=name, kind="string", about="nothing", removed=reason)


PARAMETERS = (
    _context("num_ctx", "tokens of context for one conversation; 0 = chosen"),
    _whole("num_batch", "tokens of a prompt computed at once", 1),
    _whole("num_gpu", "layers on the GPU; -1 = all that fit", -1),
    _whole("main_gpu", "the GPU to use where there are several", 0),
    _whole("num_thread", "threads of the processor; 0 = chosen", 0),
    ParameterSpec(name="use_mmap", kind="bool", about="map the file instead of reading it"),
    _choice("flash_attention", "attention without the full matrix", ("auto", "on", "off")),
    _choice("kv_cache_type", "how the context is stored", CACHE_TYPES),
    ParameterSpec(
        name="keep_alive", kind="duration", about="how long the model stays after an answer"
    ),
    _whole("draft_num_predict", "tokens guessed ahead at most; 0 = off", 0),
    _number("rope_frequency_base", "base of rotary positions; 0 = the model's", 0, LARGEST),
    _number("rope_frequency_scale", "factor of rotary positions; 0 = the model's", 0, LARGEST),
    _choice("rope_scaling", "how positions are stretched", ("none", "linear", "yarn", "longrope")),
    _context("yarn_orig_ctx", "context the model was trained with, for yarn; 0 = the model's"),
    _number("yarn_ext_factor", "mix of extrapolation, for yarn; negative = the model's", -1, 1),
    _number("yarn_attn_factor", "factor of attention, for yarn", -LARGEST, LARGEST),
    _number("yarn_beta_fast", "low correction, for yarn", -LARGEST, LARGEST),
    _number("yarn_beta_slow", "high correction, for yarn", -LARGEST, LARGEST),
    _number("temperature", "how freely words are chosen; 0 = always the likeliest", 0, HOTTEST),
    _whole("top_k", "choose among so many likeliest tokens; 0 = all", -1),
    _number("top_p", "choose among the likeliest tokens of this probability together", 0, 1),
    _number("min_p", "leave out tokens below this part of the likeliest", 0, 1),
    _number("typical_p", "choose among the most typical tokens; 1 = off", 0, 1),
    _number("top_n_sigma", "leave out tokens so many deviations below the best", -1, HOTTEST),
    _number("dynatemp_range", "the temperature moves by so much either way", 0, HOTTEST),
    _number("dynatemp_exponent", "how the temperature follows the uncertainty", 0, HOTTEST),
    _number("xtc_probability", "how often the likeliest tokens are left out", 0, 1),
    _number("xtc_threshold", "above this probability a token is likely, for xtc", 0, 1),
    _whole("mirostat", "keep the surprise even: 0 off, 1 or 2 the version", 0, 2),
    _number("mirostat_tau", "the surprise that mirostat keeps", 0, HOTTEST),
    _number("mirostat_eta", "how quickly mirostat learns", 0, 1),
    _number("repeat_penalty", "against repetition; 1 = off", MIN_PENALTY, HOTTEST),
    _whole("repeat_last_n", "tokens looked at for repetition; -1 = all, 0 = off", -1),
    _number("presence_penalty", "against tokens that occurred", -HOTTEST, HOTTEST),
    _number("frequency_penalty", "against tokens, for each time they occurred", -HOTTEST, HOTTEST),
    _number("dry_multiplier", "against repeated sequences; 0 = off", 0, HOTTEST),
    _number("dry_base", "how the penalty grows with the sequence, for dry", 1, HOTTEST),
    _whole("dry_allowed_length", "tokens that may repeat freely, for dry", 0),
    _whole("dry_penalty_last_n", "tokens looked at for dry; -1 = all, 0 = off", -1),
    ParameterSpec(name="dry_sequence_breakers", kind="list", about="text that ends a sequence"),
    _whole("seed", "the same seed draws the same words; negative = another one each time"),
    _whole("num_predict", "tokens of an answer at most; negative = until it ends"),
    _whole("num_keep", "tokens kept when the context is full; -1 = the whole prompt", -1),
    _choice("overflow", "when the context is full: refuse, go on, or drop messages", OVERFLOWS),
    ParameterSpec(name="stop", kind="list", about="text that ends an answer"),
    _deprecated("penalize_newline"),
    _deprecated("low_vram"),
    _deprecated("f16_kv"),
    _deprecated("logits_all"),
    _deprecated("vocab_only"),
    _deprecated("use_mlock"),
    _removed("numa", "Ollama has removed it"),
    _removed("num_gqa", "Ollama has removed it: the model's file says it"),
    _removed("tfs_z", "Ollama has removed it, and llama.cpp too"),
)  # fmt: skip
KNOWN = {parameter.name: parameter for parameter in PARAMETERS}
LISTS = frozenset(parameter.name for parameter in PARAMETERS if parameter.kind == "list")
# names in other programs that are too different to be suggested by spelling
OTHER_NAMES = {
    "cache_type_k": "kv_cache_type",
    "context_length": "num_ctx",
    "ctx_size": "num_ctx",
    "max_new_tokens": "num_predict",
    "max_tokens": "num_predict",
    "n_batch": "num_batch",
    "n_ctx": "num_ctx",
    "n_gpu_layers": "num_gpu",
    "n_predict": "num_predict",
    "n_threads": "num_thread",
    "repetition_penalty": "repeat_penalty",
    "rope_freq_base": "rope_frequency_base",
    "rope_freq_scale": "rope_frequency_scale",
    "threads": "num_thread",
}
