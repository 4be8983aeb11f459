"""Events that a runner sends about its requests: steps, terminal events, errors.

An event wakes the server and its client, which takes a processor from the threads that compute the
next step. So text is held back: that of an answer that is not streamed for some tokens, since
nobody reads it yet, and that of streams for `EVENT_S`, as long as the next steps only decode.

Results of the engine become messages here. Invariant: every request that was
submitted gets exactly one terminal event; `terminal_event`, `job_event` and `failed_event`
are the only places that build them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from localrun.engine.embedder import finished_vectors
from localrun.engine.media.token_ids import text_only
from localrun.engine.params import FinishReason, Pooling
from localrun.engine.speculation.predicted_output import PredictedOutput
from localrun.errors import BackendError, LocalrunError, UsageError
from localrun.runner.messages import CANCELLED, Embeddings, Failed, Finished, Ranks, Step

if TYPE_CHECKING:
    from collections.abc import Sequence as Sequences

    import numpy as np

    from localrun.engine.embedder import EmbeddingJob
    from localrun.engine.engine import StepOutput
    from localrun.engine.sequence import Sequence

SUM_TOLERANCE = 1e-3  # between the sum of probabilities and 1
LARGEST_EXPONENT = 700.0  # math.exp overflows above
MAX_HELD = 16  # outputs of an answer that is not streamed
EVENT_S = 0.004  # between events of streams; a screen shows a picture in 16 ms


@dataclass(slots=True)
class _OpenAnswer:
    """An answer that has not ended for the server, and its text that was not sent."""

    seq: Sequence
    texts: list[str] = field(default_factory=list)
    is_begun: bool = False  # text was sent
    is_ended: bool = False

    @property
    def is_streamed(self) -> bool:
        """Return whether somebody reads the text as it comes."""
        return self.seq.reader is not None

    @property
    def is_due(self) -> bool:
        """Return whether text must be sent now: the first measures the time of the first token."""
        is_full = not self.is_streamed and len(self.texts) >= MAX_HELD
        return is_full or self.is_ended or (not self.is_begun and bool(self.texts))

    def take(self) -> str:
        """Return the text that was not sent."""
        text = "".join(self.texts)
        self.texts.clear()
        self.is_begun = self.is_begun or bool(text)
        return text


class StepEvents:
    """Builder of the events of all steps; not thread-safe.

    Invariant: all text of a sequence is sent in its order, and before its terminal event.
    """

    def __init__(self) -> None:
        self._answers: dict[int, _OpenAnswer] = {}  # by request id, from the first output on
        self._sent_at = -math.inf  # when an event had the text of all streams

    def next_event(
        self, outputs: Sequences[StepOutput], now: float, *, holds: bool = True
    ) -> Step | None:
        """Return the text and the scores that are sent after a step, None if there are none.

        ``now`` is the time in seconds. ``holds``: streams may wait for the next step. If anything
        is sent, so is the text of all streams, since the server wakes up anyway.
        """
        for output in outputs:
            self._add(output)
        is_time = not holds or now - self._sent_at >= EVENT_S
        with_streams = is_time or any(answer.is_due for answer in self._answers.values())
        sent = {
            request_id: answer
            for request_id, answer in self._answers.items()
            if answer.is_due or (with_streams and answer.is_streamed)
        }
        deltas, scores = [], []
        for request_id, answer in sent.items():
            text, seq = answer.take(), answer.seq
            released = seq.release_scores() if seq.scores else ()
            if released:
                scores.append((request_id, released))
            if text or released:
                deltas.append((request_id, text))
        self._forget_ended(outputs)
        if not deltas:
            return None
        self._sent_at = now
        return Step(deltas=tuple(deltas), scores=tuple(scores))

    def due_at(self, now: float) -> float:
        """Return when the text of streams is to be sent; if there are none, that of others."""
        has_streams = any(answer.is_streamed for answer in self._answers.values())
        return (self._sent_at if has_streams else now) + EVENT_S

    def _add(self, output: StepOutput) -> None:
        request_id = output.seq.request_id
        answer = self._answers.get(request_id)
        if answer is None:
            answer = self._answers[request_id] = _OpenAnswer(output.seq)
        answer.texts.append(output.text)
        answer.is_ended = output.finish is not None

    def _forget_ended(self, outputs: Sequences[StepOutput]) -> None:
        for output in outputs:
            if output.finish is not None:
                del self._answers[output.seq.request_id]


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
    num_predicted, num_right = seq.drafts_by_source.get(PredictedOutput.name, (0, 0))
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
        drafts=tuple((name, *counts) for name, counts in seq.drafts_by_source.items()),
        predicted_right=num_right if seq.predicted else None,
        predicted_wrong=num_predicted - num_right if seq.predicted else None,
        dropped_tokens=seq.num_dropped,
        stop=seq.text.stop,
        tokens=tuple(text_only(seq.tokens)) if seq.returns_tokens else (),
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
