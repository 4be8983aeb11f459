"""Draw the next token: a chain of llama.cpp's samplers, one for each sequence."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import llama_cpp

from localrun.errors import BackendError

if TYPE_CHECKING:
    from localrun.engine.params import SamplingParams

SEED_BITS = 32
SEED_MASK = 0xFFFFFFFF
RANDOM_SEED = 0xFFFFFFFF  # llama.cpp takes this one for "choose yourself"


class Sampler:
    """A native chain; `close` frees it."""

    def __init__(self, params: SamplingParams) -> None:
        self._chain = llama_cpp.llama_sampler_chain_init(
            llama_cpp.llama_sampler_chain_default_params()
        )
        for link in _links(params):
            if not link:  # a null pointer in the chain would crash the next draw
                raise BackendError("llama.cpp could not make a sampler")
            llama_cpp.llama_sampler_chain_add(self._chain, link)

    def draw(self, context: object, index: int) -> int:
        """Return a token drawn from the logits of the batch's ``index``, and remember it."""
        return int(llama_cpp.llama_sampler_sample(self._chain, context, index))

    def close(self) -> None:
        """Free the chain with all its samplers."""
        llama_cpp.llama_sampler_free(self._chain)


def _links(params: SamplingParams) -> list[object]:
    """Return the samplers in order; top-k first keeps the others off the whole vocabulary."""
    if params.temperature <= 0:
        return [llama_cpp.llama_sampler_init_greedy()]
    links = []
    if params.top_k > 0:
        links.append(llama_cpp.llama_sampler_init_top_k(params.top_k))
    if params.top_p < 1:
        links.append(llama_cpp.llama_sampler_init_top_p(params.top_p, 1))
    if params.min_p > 0:
        links.append(llama_cpp.llama_sampler_init_min_p(params.min_p, 1))
    links.append(llama_cpp.llama_sampler_init_temp(params.temperature))
    links.append(llama_cpp.llama_sampler_init_dist(_seed(params.seed)))
    return links


def _seed(seed: int | None) -> int:
    wanted = secrets.randbits(SEED_BITS) if seed is None else seed & SEED_MASK
    return wanted if wanted != RANDOM_SEED else 0
