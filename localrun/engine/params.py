"""What a request may ask of the engine: plain values, no llama.cpp."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum

STEP_TOKENS, MOST_STEP_TOKENS = 512, 8192  # of one forward pass: by itself, and whoever asks
MOST_TOP = 20  # likely tokens that a request may ask for in place of each one


class FinishReason(StrEnum):
    """Why a generation ended by itself."""

    STOP = "stop"  # end-of-generation token or a stop string
    LENGTH = "length"  # as many tokens as were asked for, or the context is full
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class OverflowPolicy:
    """What to do when the context is full; by itself it refuses the prompt, or ends the answer."""

    drops: bool = False  # before the start: leave out the oldest messages
    shifts: bool = False  # at the edge: drop the oldest tokens and go on
    num_keep: int | None = None  # first tokens that a shift keeps; -1 = the prompt, None = system


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParams:
    """How the next token is drawn; the defaults are localrun's own.

    Applied in this order: logit bias and penalties, DRY, top-n-sigma, top-k, typical,
    top-p, min-p, XTC, temperature. Mirostat replaces everything after DRY.
    """

    temperature: float = 0.8  # 0 = always the likeliest
    dynatemp_range: float = 0.0  # the temperature moves by this much with the entropy; 0 = off
    dynatemp_exponent: float = 1.0
    top_k: int = 40  # 0 = off
    top_p: float = 0.9  # 1 = off, as for the next one that is a share
    typical_p: float = 1.0
    min_p: float = 0.0  # 0 = off
    top_n_sigma: float = -1.0  # standard deviations below the best logit; negative = off
    xtc_probability: float = 0.0  # chance that all but the least of the likely are dropped; 0 = off
    xtc_threshold: float = 0.1
    repeat_penalty: float = 1.0  # divides the logits of what came lately; 1 = off
    presence_penalty: float = 0.0  # taken from them once
    frequency_penalty: float = 0.0  # taken from them for each time
    repeat_last_n: int = 64  # how many tokens "lately" is; -1 = all, 0 = off
    dry_multiplier: float = 0.0  # 0 = off
    dry_base: float = 1.75
    dry_allowed_length: int = 2
    dry_penalty_last_n: int = -1  # -1 = all
    dry_sequence_breakers: tuple[str, ...] = ("\n", ":", '"', "*")
    mirostat: int = 0  # 0 = off, else version 1 or 2
    mirostat_tau: float = 5.0
    mirostat_eta: float = 0.1
    logit_bias: tuple[tuple[int, float], ...] = ()  # (token id, added to its logit)
    seed: int | None = None  # None = another one each time
    draft_num_predict: int | None = None  # tokens guessed ahead at most; 0 = off, None = as it pays
    ignore_eos: bool = False  # never draw the end, unless a constraint leaves nothing else
    min_tokens: int = 0  # the end is drawn after so many tokens at the earliest

    def without_ends(self, eog: frozenset[int]) -> SamplingParams:
        """Return the same with these tokens forbidden."""
        banned = tuple((token, -math.inf) for token in sorted(eog))
        return replace(self, logit_bias=(*self.logit_bias, *banned))

    @property
    def is_adjusting(self) -> bool:
        """Return whether logits change before the samplers see them."""
        return bool(self.logit_bias) or self.is_penalizing

    @property
    def is_penalizing(self) -> bool:
        """Return whether tokens that came lately count less."""
        strengths = (self.repeat_penalty - 1, self.presence_penalty, self.frequency_penalty)
        return self.repeat_last_n != 0 and any(strengths)


class ConstraintKind(StrEnum):
    """The language in which a constraint is written."""

    JSON_OBJECT = "json_object"  # any one
    JSON_SCHEMA = "json_schema"
    REGEX = "regex"
    CHOICE = "choice"  # one of some texts
    LARK = "lark"
    GBNF = "gbnf"  # llama.cpp's own


@dataclass(frozen=True, slots=True, kw_only=True)
class ConstraintSpec:
    """What the text of an answer must be, and where in the answer that holds."""

    kind: ConstraintKind
    text: str = ""  # the schema as JSON, the expression, the grammar
    choices: tuple[str, ...] = ()
    param: str = "the constraint"  # the field that it came from, for errors
    opening: str | None = None  # tag of a thought that may come first
    after: str | None = None  # tag that ends the thought; the answer begins behind it
    breaks: tuple[str, ...] = ()  # texts behind which the end may come in an open thought, too
    trigger: str | None = None  # free until this text appears, and again after what must follow
    is_once: bool = False  # not again
    around: str = ""  # Lark: what the answer is, with @answer for this constraint and @calls
    calls: str = ""  # Lark: tool calls, for @calls


class SplitMode(StrEnum):
    """How a model is spread over several GPUs."""

    NONE = "none"  # all of it on one of them
    LAYER = "layer"
    ROW = "row"  # each matrix in parts


class CacheType(StrEnum):
    """How keys and values are stored in the KV cache."""

    F32 = "f32"
    F16 = "f16"
    BF16 = "bf16"
    Q8_0 = "q8_0"
    Q5_1 = "q5_1"
    Q5_0 = "q5_0"
    Q4_1 = "q4_1"
    Q4_0 = "q4_0"
    IQ4_NL = "iq4_nl"


class RopeScaling(StrEnum):
    """How positions beyond the training's context are mapped into it."""

    NONE = "none"
    LINEAR = "linear"
    YARN = "yarn"
    LONGROPE = "longrope"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """How a model and its context are set up; None leaves it to llama.cpp or to the file."""

    num_batch: int | None = None  # tokens computed together at most
    flash_attention: bool | None = None
    cache_type: CacheType | None = None  # of keys and values; quantized ones need flash attention
    rope_freq_base: float | None = None
    rope_freq_scale: float | None = None
    rope_scaling: RopeScaling | None = None
    yarn_orig_ctx: int | None = None  # the context that the model was trained for
    yarn_ext_factor: float | None = None
    yarn_attn_factor: float | None = None
    yarn_beta_fast: float | None = None
    yarn_beta_slow: float | None = None
    main_gpu: int | None = None  # the one to use where a model is not split
    use_mmap: bool | None = None
    devices: tuple[str, ...] | None = None  # llama.cpp's names; () = the processor; None = auto
    split_mode: SplitMode | None = None

    @property
    def step_tokens(self) -> int:
        """Return how many tokens one forward pass may have, but for one of each sequence."""
        return min(self.num_batch or STEP_TOKENS, MOST_STEP_TOKENS)

    @property
    def stretching(self) -> str:
        """Return what maps positions beyond the training's context into it; empty for nothing."""
        if self.rope_scaling is RopeScaling.NONE:
            return ""
        if self.rope_scaling is not None:
            return f"rope_scaling {self.rope_scaling}"
        scale = self.rope_freq_scale or 1.0
        return f"rope_frequency_scale {scale:g}" if scale < 1.0 else ""


class Pooling(StrEnum):
    """How the vectors of a text's tokens become one."""

    MEAN = "mean"
    CLS = "cls"  # the first token's
    LAST = "last"
    RANK = "rank"  # no vector: how well the two texts of a pair fit, from a head for it
