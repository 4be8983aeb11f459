"""Parameters of requests and loads, as plain values without llama.cpp."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

STEP_TOKENS, MAX_STEP_TOKENS = 512, 8192  # of one forward pass: default and maximum
FAST_STEP_TOKENS = 2048  # the most by default, where they take no longer than a second
TILE_TOKENS = (
    64  # queries of a tile of llama.cpp's attention: fewer tokens of a prompt cost more each
)
MAX_TOP_LOGPROBS = 20  # alternatives that a request may ask for at each position (top_logprobs)


class FinishReason(StrEnum):
    """Why generation ended."""

    STOP = "stop"  # end-of-generation token or a stop string
    LENGTH = "length"  # the requested number of tokens, or the context is full
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class OverflowPolicy:
    """What to do if the context is full; by default the prompt is refused, or the answer ends."""

    drops: bool = False  # before generation: leave out the oldest messages
    shifts: bool = False  # during generation: drop the oldest tokens and continue
    num_keep: int | None = None  # first tokens kept by a shift; -1 = prompt, None = system


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParams:
    """Parameters of sampling; the defaults are localrun's own.

    Applied in this order: logit bias and penalties, DRY, top-n-sigma, top-k, typical,
    top-p, min-p, XTC, temperature. Mirostat replaces everything after DRY.
    """

    temperature: float = 0.8  # 0 = always the likeliest token
    dynatemp_range: float = 0.0  # the temperature varies by this much with the entropy; 0 = off
    dynatemp_exponent: float = 1.0
    top_k: int = 40  # 0 = off
    top_p: float = 0.9  # 1 = off
    typical_p: float = 1.0  # 1 = off
    min_p: float = 0.0  # 0 = off
    top_n_sigma: float = -1.0  # standard deviations below the best logit; negative = off
    xtc_probability: float = 0.0  # chance to drop all likely tokens but the last; 0 = off
    xtc_threshold: float = 0.1
    repeat_penalty: float = 1.0  # divides the logits of recent tokens; 1 = off
    presence_penalty: float = 0.0  # subtracted from the logits of recent tokens once
    frequency_penalty: float = 0.0  # subtracted for each occurrence
    repeat_last_n: int = 64  # number of recent tokens; -1 = all, 0 = off
    dry_multiplier: float = 0.0  # 0 = off
    dry_base: float = 1.75
    dry_allowed_length: int = 2
    dry_penalty_last_n: int = -1  # -1 = all
    dry_sequence_breakers: tuple[str, ...] = ("\n", ":", '"', "*")
    mirostat: int = 0  # 0 = off, else version 1 or 2
    mirostat_tau: float = 5.0
    mirostat_eta: float = 0.1
    logit_bias: tuple[tuple[int, float], ...] = ()  # (token id, added to its logit)
    seed: int | None = None  # None = random
    draft_num_predict: int | None = None  # maximum of draft tokens; 0 = off, None = adaptive
    ignore_eos: bool = False  # never sample the end, unless a constraint allows nothing else
    min_tokens: int = 0  # generated before the end may be sampled

    def without_ends(self, eog: AbstractSet[int]) -> SamplingParams:
        """Return a copy that forbids the end-of-generation tokens."""
        banned = tuple((token, -math.inf) for token in sorted(eog))
        return replace(self, logit_bias=(*self.logit_bias, *banned))

    @property
    def is_adjusting(self) -> bool:
        """Return whether a logit bias or penalties apply."""
        return bool(self.logit_bias) or self.is_penalizing

    @property
    def is_penalizing(self) -> bool:
        """Return whether recent tokens are penalized."""
        strengths = (self.repeat_penalty - 1, self.presence_penalty, self.frequency_penalty)
        return self.repeat_last_n != 0 and any(strengths)


class ConstraintKind(StrEnum):
    """Language of a constraint."""

    JSON_OBJECT = "json_object"  # any JSON object
    JSON_SCHEMA = "json_schema"
    REGEX = "regex"
    CHOICE = "choice"  # one of some texts
    LARK = "lark"
    GBNF = "gbnf"  # llama.cpp's grammars


@dataclass(frozen=True, slots=True, kw_only=True)
class ConstraintSpec:
    """Structured output of an answer, and the part of the answer that it applies to."""

    kind: ConstraintKind
    text: str = ""  # the schema as JSON, the expression, the grammar
    choices: tuple[str, ...] = ()
    param: str = "the constraint"  # request field, for error messages
    opening: str | None = None  # tag of a thinking block that may precede the answer
    after: str | None = None  # tag that ends the thinking block; the constraint applies behind it
    breaks: tuple[str, ...] = ()  # texts after which generation may end inside a thinking block
    trigger: str | None = None  # text is free until this appears, and again after the match
    is_once: bool = False  # the trigger applies once
    around: str = ""  # Lark grammar of the answer, with @answer for this constraint and @calls
    calls: str = ""  # Lark grammar of tool calls, for @calls


class SplitMode(StrEnum):
    """Split of a model over several GPUs."""

    NONE = "none"  # the whole model on one GPU
    LAYER = "layer"
    ROW = "row"  # each matrix is split


class CacheType(StrEnum):
    """Data type of keys and values in the KV cache."""

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
    """Mapping of positions beyond the trained context into it."""

    NONE = "none"
    LINEAR = "linear"
    YARN = "yarn"
    LONGROPE = "longrope"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """Options of a model and its context; None means llama.cpp's or the file's default."""

    num_batch: int | None = None  # maximum of tokens in a step
    flash_attention: bool | None = None
    cache_type: CacheType | None = None  # quantized types need flash attention
    rope_freq_base: float | None = None
    rope_freq_scale: float | None = None
    rope_scaling: RopeScaling | None = None
    yarn_orig_ctx: int | None = None  # trained context
    yarn_ext_factor: float | None = None
    yarn_attn_factor: float | None = None
    yarn_beta_fast: float | None = None
    yarn_beta_slow: float | None = None
    main_gpu: int | None = None  # used if the model is not split
    use_mmap: bool | None = None
    devices: tuple[str, ...] | None = None  # llama.cpp's names; () = CPU; None = auto
    split_mode: SplitMode | None = None

    @property
    def step_tokens(self) -> int:
        """Return the token budget of a step; the loader raises it to one for each slot."""
        return min(self.num_batch or STEP_TOKENS, MAX_STEP_TOKENS)

    @property
    def stretching(self) -> str:
        """Return the option that extends the trained context, or an empty string."""
        if self.rope_scaling is RopeScaling.NONE:
            return ""
        if self.rope_scaling is not None:
            return f"rope_scaling {self.rope_scaling}"
        scale = self.rope_freq_scale or 1.0
        return f"rope_frequency_scale {scale:g}" if scale < 1.0 else ""


class Pooling(StrEnum):
    """Pooling of the token vectors of a text into one vector."""

    MEAN = "mean"
    CLS = "cls"  # vector of the first token
    LAST = "last"  # vector of the last token
    RANK = "rank"  # no vector: relevance scores of a pair of texts, from a classification head
