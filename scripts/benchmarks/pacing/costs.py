"""Costs of a call of llama.cpp, measured on one machine and model; both kinds of KV cache.

A call costs what its tokens cost in the layers, its outputs in the output matrix, and each query
at the cells that it looks at:

    decoding sequence    its own cells; with shared cells also those of all others
    prompt token         the cells before it; with shared cells also those of all others

With shared cells and 64 tokens or more in a call, llama.cpp's attention computes tiles of 64
queries, also at the cells of what decodes. A cache with a stream for each sequence computes what
decodes and what is left of the prompts as two calls (llama.cpp's equal ubatches).
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, replace
from itertools import starmap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

TILE_TOKENS = 64


@dataclass(frozen=True, slots=True)
class Work:
    """Tokens of one sequence in a call: positions [start, start + num_tokens)."""

    start: int
    num_tokens: int
    is_prompt: bool
    has_output: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CallCosts:
    """Measured costs; ``layers_ms`` has the tokens of a call and their milliseconds, ascending."""

    layers_ms: tuple[tuple[int, float], ...]
    first_output_ms: float
    next_output_ms: float
    own_cell_us: float  # of a query of a decoding sequence
    foreign_cell_us: float
    prompt_cell_us: float  # of a prompt token
    prompt_foreign_us: float
    tile_cell_us: float  # of a decoding sequence in a call with many prompt tokens
    has_streams: bool  # a stream of cells for each sequence

    def seconds(self, works: Sequence[Work], num_used_cells: int) -> float:
        """Return the seconds of a call while the cache holds so many cells."""
        num_tokens = sum(work.num_tokens for work in works)
        num_left = num_tokens - len(works)
        is_split = self.has_streams and num_left > 0 and len(works) > 1
        layers = (
            self._layers_ms(len(works)) + self._layers_ms(num_left)
            if is_split
            else self._layers_ms(num_tokens)
        )
        num_outputs = sum(work.has_output for work in works)
        outputs = self.first_output_ms + self.next_output_ms * (num_outputs - 1)
        attention = sum(self._attention_us(work, num_used_cells) for work in works) / 1000
        if any(work.is_prompt for work in works) and num_tokens >= TILE_TOKENS:
            num_decoding_cells = sum(work.start for work in works if not work.is_prompt)
            attention += self.tile_cell_us * num_decoding_cells / 1000
        return (layers + (outputs if num_outputs else 0.0) + attention) / 1000

    def prompt_seconds(self, num_tokens: int, start: int = 0) -> float:
        """Return the seconds of a prompt alone, at the rate of the largest calls."""
        count, milliseconds = self.layers_ms[-1]
        attention_ms = self.prompt_cell_us * (start + num_tokens / 2) / 1000
        return num_tokens * (milliseconds / count + attention_ms) / 1000

    def decoding_seconds(self, lengths: Sequence[int]) -> float:
        """Return the seconds of a step that decodes sequences of these lengths."""
        works = [Work(length, 1, is_prompt=False, has_output=True) for length in lengths]
        return self.seconds(works, sum(lengths))

    def _attention_us(self, work: Work, num_used_cells: int) -> float:
        num_own = work.start + work.num_tokens / 2
        num_foreign = 0 if self.has_streams else max(0.0, num_used_cells - num_own)
        if work.is_prompt:
            cell_us = num_own * self.prompt_cell_us + num_foreign * self.prompt_foreign_us
        else:
            cell_us = num_own * self.own_cell_us + num_foreign * self.foreign_cell_us
        return cell_us * work.num_tokens

    def _layers_ms(self, num_tokens: int) -> float:
        """Interpolate; beyond the last figure each token costs what it costs there."""
        counts = [count for count, _ in self.layers_ms]
        place = bisect_left(counts, num_tokens)
        if place == len(counts):
            count, milliseconds = self.layers_ms[-1]
            return milliseconds * num_tokens / count
        if place == 0:
            return self.layers_ms[0][1]
        (low, low_ms), (high, high_ms) = self.layers_ms[place - 1 : place + 1]
        return low_ms + (high_ms - low_ms) * (num_tokens - low) / (high - low)

    def scaled(self, factor: float) -> CallCosts:
        """Return the costs of a machine or a model that takes ``factor`` times as long."""
        return replace(
            self,
            layers_ms=tuple(starmap(lambda count, ms: (count, ms * factor), self.layers_ms)),
            first_output_ms=self.first_output_ms * factor,
            next_output_ms=self.next_output_ms * factor,
            own_cell_us=self.own_cell_us * factor,
            foreign_cell_us=self.foreign_cell_us * factor,
            prompt_cell_us=self.prompt_cell_us * factor,
            prompt_foreign_us=self.prompt_foreign_us * factor,
            tile_cell_us=self.tile_cell_us * factor,
        )


# 0.6B, Q4_K_M, vocabulary of 152k, two threads on two cores with AVX-512, f16 cells
STREAMS = CallCosts(
    layers_ms=((1, 30.0), (2, 45.0), (4, 52.0), (8, 93.0), (16, 105.0), (64, 310.0), (512, 2250.0)),
    first_output_ms=6.0,
    next_output_ms=1.6,
    own_cell_us=28.0,
    foreign_cell_us=0.0,
    prompt_cell_us=4.5,
    prompt_foreign_us=0.0,
    tile_cell_us=0.0,
    has_streams=True,
)
UNIFIED = replace(
    STREAMS,
    foreign_cell_us=1.3,
    prompt_foreign_us=0.45,
    tile_cell_us=110.0,
    has_streams=False,
)
