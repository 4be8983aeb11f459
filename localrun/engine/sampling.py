"""Sampling of a step: scores, penalties, constraint and sampler chain of each sequence.

Runs in one thread: 8 samples from 152,000 tokens take half a millisecond, beside a step of 40.
"""

from __future__ import annotations

import ctypes
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from llama_cpp import llama_cpp as api

from localrun.engine.candidates import Candidates
from localrun.engine.media.token_ids import text_only
from localrun.engine.sampler_chain import SamplerChain, adjust_logits
from localrun.engine.scores import TokenScore, log_probabilities
from localrun.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Sequence as Sequences

    from localrun.engine.llama.model import Model
    from localrun.engine.scheduler import ScheduledChunk
    from localrun.engine.sequence import Sequence

MAX_VIEWS = 1024

# the binding's own function creates a pointer object per address, which costs more than the call
_logits_address = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int32)(
    ctypes.cast(api._lib.llama_get_logits_ith, ctypes.c_void_p).value or 0  # noqa: SLF001
)


class StepSampler:
    """The sampler chains of all sequences of a context, and the views of its logits."""

    def __init__(self, model: Model, handle: object) -> None:
        self._model = model
        self._handle = handle
        self._candidates = Candidates(model.num_vocab)
        self._chains: dict[int, SamplerChain] = {}  # by request id
        self._views: dict[int, np.ndarray] = {}  # by address

    def read_logits_of(self, handle: object) -> None:
        """Sample from the logits of another context from now on."""
        self._handle = handle
        self._views.clear()

    @property
    def num_samplers(self) -> int:
        """Return the number of sequences with a sampler chain."""
        return len(self._chains)

    def sample(self, outputs: list[tuple[ScheduledChunk, int]]) -> list[list[int]]:
        """Return the tokens sampled for each chunk, from the logits at its index and behind it."""
        return [self._sample_chunk(chunk, index) for chunk, index in outputs]

    def score_prompt(self, chunk: ScheduledChunk, index: int) -> None:
        """Score the prompt tokens that follow those of a chunk, whose first logits are at index."""
        seq, scores = chunk.seq, chunk.seq.scores
        if scores is None:
            return
        if not scores.num_prompt_scored:
            first_piece = self._model.spelled_piece(seq.tokens[0])
            scores.add_prompt_score(TokenScore(first_piece, None, ()))
        first = seq.num_computed
        end = min(first + chunk.num_tokens, seq.num_prompt - 1)
        for position in range(max(first, scores.num_prompt_scored - 1), end):
            logits = self.logits(index + position - first)
            score = self._score(logits, seq.tokens[position + 1], scores.num_top)
            scores.add_prompt_score(score)

    def retire(self, seq: Sequence) -> None:
        """Free the sequence's sampler chain."""
        chain = self._chains.pop(seq.request_id, None)
        if chain is not None:
            chain.close()

    def close(self) -> None:
        """Free all sampler chains; the context must still exist."""
        for chain in self._chains.values():
            chain.close()
        self._chains.clear()
        self._views.clear()

    @cached_property
    def _eog(self) -> np.ndarray:
        return np.array(sorted(self._model.eog), dtype=np.intp)

    def _sample_chunk(self, chunk: ScheduledChunk, index: int) -> list[int]:
        """Sample a token and, while it equals the draft token, the next one."""
        tokens = [self._sample_next(chunk.seq, index)]
        for offset, draft in enumerate(chunk.drafts, 1):
            if tokens[-1] != draft or draft in self._model.eog:
                break
            tokens.append(self._sample_next(chunk.seq, index + offset, tokens))
        return tokens

    def _sample_next(self, seq: Sequence, index: int, accepted: Sequences[int] = ()) -> int:
        """Sample the token behind the sequence and ``accepted`` from the logits at ``index``."""
        chain = self._chains.get(seq.request_id)
        if chain is None:
            prompt = seq.tokens[: seq.num_prompt]
            history = text_only(prompt) if seq.has_media else prompt
            chain = SamplerChain(seq.sampling, self._model, history)
            self._chains[seq.request_id] = chain
        logits = self.logits(index)
        raw = logits.copy() if seq.scores else None  # the next lines write into them
        if seq.sampling.is_adjusting:
            tokens = text_only(seq.tokens) if seq.has_media else seq.tokens
            tokens = [*tokens, *accepted] if accepted else tokens
            adjust_logits(logits, seq.sampling, tokens)
        if seq.num_generated + len(accepted) < seq.sampling.min_tokens:
            logits[self._eog] = -np.inf
        if seq.constraint is not None:
            seq.constraint.mask(logits)
        token = chain.sample(self._candidates, logits)
        if seq.constraint is not None:
            seq.constraint.accept(token)
        if seq.scores and raw is not None:
            seq.scores.sampled.append(self._score(raw, token, seq.scores.num_top))
        return token

    def _score(self, logits: np.ndarray, token: int, num_top: int) -> TokenScore:
        logprob, top = log_probabilities(logits, token, num_top)
        spell = self._model.spelled_piece
        return TokenScore(spell(token), logprob, tuple((spell(one), value) for one, value in top))

    def logits(self, index: int) -> np.ndarray:
        """Return a writable view of an output's logits, shape (num_vocab,)."""
        address = _logits_address(self._handle, index)
        if not address:
            raise BackendError(f"llama.cpp has no logits at {index}")
        view = self._views.get(address)
        if view is None:
            if len(self._views) >= MAX_VIEWS:  # most are of freed buffers
                self._views.clear()
            buffer = (ctypes.c_float * self._model.num_vocab).from_address(address)
            view = self._views[address] = np.frombuffer(memoryview(buffer), dtype=np.float32)
        return view
