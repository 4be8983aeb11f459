"""What a request may ask of the engine: plain values, no llama.cpp."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class FinishReason(StrEnum):
    """Why a generation ended by itself."""

    STOP = "stop"  # end-of-generation token or a stop string
    LENGTH = "length"  # as many tokens as were asked for, or the context is full
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParams:
    """How the next token is drawn; the defaults are localrun's own."""

    temperature: float = 0.8  # 0 = always the likeliest
    top_k: int = 40  # 0 = off
    top_p: float = 0.9
    min_p: float = 0.0
    seed: int | None = None  # None = another one each time
