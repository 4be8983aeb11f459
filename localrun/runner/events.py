"""Events that a runner sends about the end of its requests: terminal events, errors.

Pure functions from results of the engine to messages. Invariant: every request that was
submitted gets exactly one terminal event; `terminal_event`, `job_event` and `failed_event`
are the only places that build them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from localrun.engine.embedder import finished_vectors
from localrun.engine.params import FinishReason, Pooling
from localrun.errors import BackendError, LocalrunError, UsageError
from localrun.runner.messages import CANCELLED, Embeddings, Failed, Finished, Ranks

if TYPE_CHECKING:
    import numpy as np

    from localrun.engine.embedder import EmbeddingJob
    from localrun.engine.sequence import Sequence

SUM_TOLERANCE = 1e-3  # between the sum of probabilities and 1
LARGEST_EXPONENT = 700.0  # math.exp overflows above


def failed_event(request_id: int, error: LocalrunError) -> Failed:
    """Return the terminal event of a request that ended by an error."""
    return Failed(
        request_id=request_id,
        code=error.code,
        message=error.message,
        hint=error.hint,
        param=error.param if isinstance(error, UsageError) else None,
    )


def terminal_event(seq: Sequence, now: float) -> Finished | Failed:
    """Return the terminal event of a sequence that ended."""
    failure = seq.constraint.failure if seq.constraint else None
    if failure is None or seq.finish is FinishReason.CANCELLED:
        return _finished(seq, now)
    return Failed(request_id=seq.request_id, code=UsageError.code, message=failure)


def cancelled_event(request_id: int) -> Finished:
    """Return the terminal event of a generation that was cancelled before its prompt existed."""
    return Finished(
        request_id=request_id,
        reason=FinishReason.CANCELLED,
        prompt_tokens=0,
        cached_tokens=0,
        generated_tokens=0,
        queue_s=0.0,
        prompt_s=0.0,
        generation_s=0.0,
    )


def job_event(job: EmbeddingJob) -> Embeddings | Ranks | Failed:
    """Return the terminal event of an embedding or rerank job that ended."""
    if job.is_cancelled:
        return Failed(request_id=job.request_id, code=CANCELLED, message="cancelled")
    try:
        if job.failure is not None:
            raise job.failure
        return _ranks(job) if job.pooling is Pooling.RANK else _embeddings(job)
    except LocalrunError as error:
        return failed_event(job.request_id, error)


def _finished(seq: Sequence, now: float) -> Finished:
    if seq.finish is None:
        raise ValueError(f"request {seq.request_id} is not finished")
    admitted = seq.admitted_at or now
    first = seq.first_token_at or now
    return Finished(
        request_id=seq.request_id,
        reason=seq.finish,
        prompt_tokens=seq.num_prompt,
        cached_tokens=seq.num_cached,
        generated_tokens=seq.num_generated,
        queue_s=admitted - seq.submitted_at,
        prompt_s=first - admitted,
        generation_s=now - first,
        drafted_tokens=seq.num_drafted,
        accepted_tokens=seq.num_accepted,
        predicted_right=seq.num_predicted_accepted if seq.predicted else None,
        predicted_wrong=seq.num_predicted - seq.num_predicted_accepted if seq.predicted else None,
        dropped_tokens=seq.num_dropped,
        stop=seq.text.stop,
        tokens=tuple(seq.tokens) if seq.returns_tokens else (),
        thought_tokens=seq.thinking.num_tokens if seq.thinking else 0,
    )


def _embeddings(job: EmbeddingJob) -> Embeddings:
    vectors = finished_vectors(job)
    return Embeddings(
        request_id=job.request_id,
        vectors=vectors.astype("<f4").tobytes(),
        dimensions=vectors.shape[1],
        token_counts=tuple(map(len, job.inputs)),
    )


def _ranks(job: EmbeddingJob) -> Ranks:
    scores = tuple(_score(vector, job.score_index) for vector in job.vectors)
    if not all(map(math.isfinite, scores)):
        raise BackendError("the model computes no numbers: its weights may be damaged")
    return Ranks(
        request_id=job.request_id,
        scores=scores,
        are_probabilities=len(job.vectors[0]) > 1,
        token_counts=tuple(map(len, job.inputs)),
    )


def _score(outputs: np.ndarray, index: int) -> float:
    """Return the only output as it is, or the softmax probability of one of several.

    Some models apply the softmax themselves; their outputs are returned unchanged.
    """
    are_probabilities = outputs.min() >= 0 and abs(float(outputs.sum()) - 1) < SUM_TOLERANCE
    if len(outputs) == 1 or are_probabilities:
        return float(outputs[index])
    exponents = (min(float(other - outputs[index]), LARGEST_EXPONENT) for other in outputs)
    return 1 / sum(map(math.exp, exponents))
