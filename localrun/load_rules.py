"""Rules of loads: the server's variables for contexts, sequences, KV cache, cards and models.

A request or a recipe overrules what it can set itself, such as the context. The variables belong
to the server: it reads them when it starts, and commands only pass them to a server they start.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.errors import UsageError
from localrun.variables import (
    NO,
    YES,
    read_choice,
    read_count,
    read_duration,
    read_limit,
    read_size,
    read_tokens,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

CONTEXT_LENGTH = "LOCALRUN_CONTEXT_LENGTH"
NUM_PARALLEL = "LOCALRUN_NUM_PARALLEL"
KV_CACHE_TYPE = "LOCALRUN_KV_CACHE_TYPE"
FLASH_ATTENTION = "LOCALRUN_FLASH_ATTENTION"
GPU_RESERVE = "LOCALRUN_GPU_RESERVE"
MAX_MODELS = "LOCALRUN_MAX_MODELS"
LOAD_TIMEOUT = "LOCALRUN_LOAD_TIMEOUT"
READING_SPEED = "LOCALRUN_READING_SPEED"
MEDIA_CACHE = "LOCALRUN_MEDIA_CACHE"
FFMPEG = "LOCALRUN_FFMPEG"
DEFAULT_PARALLEL = 16
LARGEST_PARALLEL = 128  # llama.cpp has 256 sequence ids, and cached prefixes need some
LONGEST_CONTEXT = 2**27  # far beyond the longest trained one
LARGEST_MODELS = 1000
DEFAULT_READING_SPEED = 10  # tokens a second, twice as fast as most people read
LARGEST_READING_SPEED = 1000
DEFAULT_MEDIA_CACHE_BYTES = 256 * 2**20
DEFAULT_TIMEOUT_S = 600.0  # disks of other machines are slow, and mapping shows no progress
PLAIN_CACHE_TYPES = ("f16", "bf16", "f32")
CACHE_TYPES = (*PLAIN_CACHE_TYPES, "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadRules:
    """The rules of one server; None leaves a value to the plan of each load."""

    num_ctx: int | None = None
    num_parallel: int = DEFAULT_PARALLEL
    cache_type: str | None = None
    flash_attention: bool | None = None
    gpu_reserve_bytes: int = 0  # of each card, left to other programs
    max_models: int | None = None  # loaded at once; None: as many as the memory allows
    timeout_s: float | None = DEFAULT_TIMEOUT_S  # without progress; None: no limit
    reading_speed: int = DEFAULT_READING_SPEED  # tokens a second that a stream is kept ahead of
    media_cache_bytes: int = DEFAULT_MEDIA_CACHE_BYTES  # of encoded images and sounds, each model
    ffmpeg: str = ""  # the user's program for sounds in other containers


def read_load_rules(environ: Mapping[str, str]) -> LoadRules:
    """Return the rules of an environment.

    Raises:
        UsageError: a variable is malformed, or two of them contradict each other.
    """
    rules = LoadRules(
        num_ctx=read_tokens(environ, CONTEXT_LENGTH, LONGEST_CONTEXT),
        num_parallel=read_count(environ, NUM_PARALLEL, DEFAULT_PARALLEL, LARGEST_PARALLEL),
        cache_type=read_choice(environ, KV_CACHE_TYPE, CACHE_TYPES),
        flash_attention=_flash_attention(environ),
        gpu_reserve_bytes=_gpu_reserve(environ),
        max_models=read_limit(environ, MAX_MODELS, LARGEST_MODELS, example=3),
        # 0 means forever too, as in other programs
        timeout_s=read_duration(environ, LOAD_TIMEOUT, DEFAULT_TIMEOUT_S) or None,
        reading_speed=read_count(
            environ, READING_SPEED, DEFAULT_READING_SPEED, LARGEST_READING_SPEED
        ),
        media_cache_bytes=_media_cache(environ),
        ffmpeg=_ffmpeg(environ),
    )
    is_quantized = rules.cache_type not in {None, *PLAIN_CACHE_TYPES}
    if is_quantized and rules.flash_attention is False:
        raise UsageError(
            f"{KV_CACHE_TYPE}={rules.cache_type} needs flash attention, "
            f"which {FLASH_ATTENTION} switches off",
            hint=f"unset {FLASH_ATTENTION}   or {KV_CACHE_TYPE}=f16",
        )
    return rules


def _flash_attention(environ: Mapping[str, str]) -> bool | None:
    text = environ.get(FLASH_ATTENTION, "").strip().lower()
    if text in {"", "auto"}:
        return None
    if text not in YES | NO:
        raise UsageError(
            f"{FLASH_ATTENTION} must be 1, 0 or auto, not {text}", hint=f"{FLASH_ATTENTION}=1"
        )
    return text in YES


def _ffmpeg(environ: Mapping[str, str]) -> str:
    """Return the program that LOCALRUN_FFMPEG names, ffmpeg for 1, "" for none."""
    text = environ.get(FFMPEG, "").strip()
    if text.lower() in YES | NO:
        return "ffmpeg" if text.lower() in YES else ""
    return text


def _media_cache(environ: Mapping[str, str]) -> int:
    size = read_size(environ, MEDIA_CACHE)
    return DEFAULT_MEDIA_CACHE_BYTES if size is None else size


def _gpu_reserve(environ: Mapping[str, str]) -> int:
    """Return bytes; a plain number is bytes too, so that 1 does not mean "yes"."""
    text = environ.get(GPU_RESERVE, "").strip().lower()
    if text in YES - {"1"}:
        raise UsageError(f"{GPU_RESERVE} must be a size, not {text}", hint=f"{GPU_RESERVE}=2G")
    return 1 if text == "1" else read_size(environ, GPU_RESERVE) or 0
