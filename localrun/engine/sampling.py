"""Draw tokens from the logits of a step: scores, penalties, constraint, sampler.

One thread does it: 8 draws from 152,000 tokens take half a millisecond, beside a step of 40.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

import numpy as np
from llama_cpp import llama_cpp as api

from localrun.engine.candidates import Candidates
from localrun.engine.penalties import adjust
from localrun.engine.sampler import Sampler
from localrun.engine.scores import TokenScore, log_probabilities
from localrun.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Sequence as Sequences

    from localrun.engine.llama.model import Model
    from localrun.engine.scheduler import ScheduledChunk
    from localrun.engine.sequence import Sequence

MOST_VIEWS = 1024

# the binding's own makes a pointer object of each address, which costs more than the call
_logits_address = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int32)(
    ctypes.cast(api._lib.llama_get_logits_ith, ctypes.c_void_p).value or 0  # noqa: SLF001
)


class StepSampler:
    """The samplers of all sequences of a context, and the views of its logits."""

    def __init__(self, model: Model, handle: object) -> None:
        self._model = model
        self._handle = handle
        self._eog = np.fromiter(sorted(model.eog), dtype=np.intp)
        self._candidates = Candidates(model.num_vocab)
        self._samplers: dict[int, Sampler] = {}
        self._views: dict[int, np.ndarray] = {}  # by address

    @property
    def num_samplers(self) -> int:
        """Return how many sequences draw."""
        return len(self._samplers)

    def draw(self, outputs: list[tuple[ScheduledChunk, int]]) -> list[list[int]]:
        """Return the tokens drawn for each row, from the logits at its index and behind it."""
        return [self._draw_run(row, index) for row, index in outputs]

    def weigh(self, row: ScheduledChunk, index: int) -> None:
        """Score the tokens of a prompt that follow those of a row, whose first is at ``index``."""
        seq, scores = row.seq, row.seq.scores
        if scores is None:
            return
        if not scores.num_weighed:
            scores.weigh(TokenScore(self._model.spelled_piece(seq.tokens[0]), None, ()))
        first, end = seq.num_computed, min(seq.num_computed + row.count, seq.num_prompt - 1)
        for place in range(max(first, scores.num_weighed - 1), end):
            logits = self.logits(index + place - first)
            scores.weigh(self._score(logits, seq.tokens[place + 1], scores.num_top))

    def retire(self, seq: Sequence) -> None:
        """Free the sequence's sampler."""
        sampler = self._samplers.pop(seq.request_id, None)
        if sampler is not None:
            sampler.close()

    def close(self) -> None:
        """Free all samplers; the context must still be there."""
        for sampler in self._samplers.values():
            sampler.close()
        self._samplers.clear()
        self._views.clear()

    def _draw_run(self, row: ScheduledChunk, index: int) -> list[int]:
        """Draw a token and, as long as it is the one that was guessed, the next one."""
        run = [self._draw(row.seq, index)]
        for place, draft in enumerate(row.drafts, 1):
            if run[-1] != draft or draft in self._model.eog:
                break
            run.append(self._draw(row.seq, index + place, run))
        return run

    def _draw(self, seq: Sequence, index: int, run: Sequences[int] = ()) -> int:
        """Draw what follows the sequence and ``run`` from the logits at ``index``."""
        sampler = self._samplers.get(seq.request_id)
        if sampler is None:
            sampler = Sampler(seq.sampling, self._model, seq.tokens[: seq.num_prompt])
            self._samplers[seq.request_id] = sampler
        logits = self.logits(index)
        raw = logits.copy() if seq.scores else None  # what follows writes into them
        if seq.sampling.is_adjusting:
            tokens = [*seq.tokens, *run] if run else seq.tokens
            adjust(logits, seq.sampling, tokens)
        if seq.num_generated + len(run) < seq.sampling.min_tokens:
            logits[self._eog] = -np.inf
        if seq.constraint is not None:
            seq.constraint.mask(logits)
        token = sampler.draw(self._candidates, logits)
        if seq.constraint is not None:
            seq.constraint.accept(token)
        if seq.scores and raw is not None:
            seq.scores.drawn.append(self._score(raw, token, seq.scores.num_top))
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
            if len(self._views) >= MOST_VIEWS:  # of buffers that are gone
                self._views.clear()
            row = (ctypes.c_float * self._model.num_vocab).from_address(address)
            view = self._views[address] = np.ctypeslib.as_array(row)
        return view
