"""Draw the next token: a chain of llama.cpp's samplers, one for each sequence."""

from __future__ import annotations

import ctypes
import secrets
from typing import TYPE_CHECKING

import llama_cpp

from localrun.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from localrun.engine.candidates import Candidates
    from localrun.engine.llama.model import Model
    from localrun.engine.params import SamplingParams

SEED_BITS = 32
SEED_MASK = 0xFFFFFFFF
RANDOM_SEED = 0xFFFFFFFF  # llama.cpp takes this one for "choose yourself"
MIROSTAT_CANDIDATES = 100  # "m" of its first version, as its paper has it
KEEP = 1  # candidates that a filter leaves at least


class Sampler:
    """A native chain; `close` frees it.

    ``history`` are the tokens of the prompt, for what looks back at them.
    """

    def __init__(self, params: SamplingParams, model: Model, history: Sequence[int]) -> None:
        self._chain = llama_cpp.llama_sampler_chain_init(
            llama_cpp.llama_sampler_chain_default_params()
        )
        links = _dry(params, model) + _links(params, model)
        for link in links:
            if not link:  # a null pointer in the chain would crash the next draw
                raise BackendError("llama.cpp could not make a sampler")
            llama_cpp.llama_sampler_chain_add(self._chain, link)
        self._most = _most(params)
        if params.dry_multiplier > 0:
            for token in history:
                llama_cpp.llama_sampler_accept(self._chain, token)

    def draw(self, candidates: Candidates, logits: np.ndarray) -> int:
        """Return a token drawn from logits, shape (num_vocab,), and remember it."""
        return candidates.draw(self._chain, logits, self._most)

    def close(self) -> None:
        """Free the chain with all its samplers."""
        llama_cpp.llama_sampler_free(self._chain)


def _most(params: SamplingParams) -> int | None:
    """Return how many of the best the chain takes at once, None where others may count."""
    if params.dry_multiplier > 0:
        return None
    if params.temperature <= 0:
        return 1
    return params.top_k if not params.mirostat and params.top_n_sigma <= 0 < params.top_k else None


def _dry(params: SamplingParams, model: Model) -> list[object]:
    """Return the sampler against repeated passages, if it is wanted."""
    if params.dry_multiplier <= 0 or params.dry_penalty_last_n == 0:
        return []
    texts = [text.encode() for text in params.dry_sequence_breakers]
    breakers = (ctypes.c_char_p * len(texts))(*texts)
    last = model.trained_context if params.dry_penalty_last_n < 0 else params.dry_penalty_last_n
    link = llama_cpp.llama_sampler_init_dry(
        model.vocab, params.dry_multiplier, params.dry_base,
        params.dry_allowed_length, last, breakers, len(texts),
    )  # fmt: skip
    return [link]


def _links(params: SamplingParams, model: Model) -> list[object]:
    """Return the samplers that choose, in order; the last one draws."""
    if params.temperature <= 0:
        return [llama_cpp.llama_sampler_init_greedy()]
    seed = _seed(params.seed)
    heat = llama_cpp.llama_sampler_init_temp_ext(
        params.temperature, params.dynatemp_range, params.dynatemp_exponent
    )
    tau, eta = params.mirostat_tau, params.mirostat_eta
    if params.mirostat == 1:
        return [heat, llama_cpp.llama_sampler_init_mirostat(
            model.num_vocab, seed, tau, eta, MIROSTAT_CANDIDATES
        )]  # fmt: skip
    if params.mirostat:
        return [heat, llama_cpp.llama_sampler_init_mirostat_v2(seed, tau, eta)]
    return [*_filters(params, seed), heat, llama_cpp.llama_sampler_init_dist(seed)]


def _filters(params: SamplingParams, seed: int) -> list[object]:
    """Return the samplers that drop candidates; top-k first spares the others the vocabulary."""
    links = []
    if params.top_n_sigma > 0:
        links.append(llama_cpp.llama_sampler_init_top_n_sigma(params.top_n_sigma))
    if params.top_k > 0:
        links.append(llama_cpp.llama_sampler_init_top_k(params.top_k))
    if params.typical_p < 1:
        links.append(llama_cpp.llama_sampler_init_typical(params.typical_p, KEEP))
    if params.top_p < 1:
        links.append(llama_cpp.llama_sampler_init_top_p(params.top_p, KEEP))
    if params.min_p > 0:
        links.append(llama_cpp.llama_sampler_init_min_p(params.min_p, KEEP))
    if params.xtc_probability > 0:
        threshold = params.xtc_threshold
        links.append(
            llama_cpp.llama_sampler_init_xtc(params.xtc_probability, threshold, KEEP, seed)
        )
    return links


def _seed(seed: int | None) -> int:
    wanted = secrets.randbits(SEED_BITS) if seed is None else seed & SEED_MASK
    return wanted if wanted != RANDOM_SEED else 0
