"""`Embed` and `Rerank`: checked and tokenized by the reader, told by the engine's thread.

Every input is measured here against what the model takes, since llama.cpp answers one that
is too long with the end of the process.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

from localrun.engine.embedder import EmbeddingJob, finished_vectors
from localrun.engine.params import Pooling
from localrun.errors import BackendError, ContextExceededError, LocalrunError, UsageError
from localrun.runner.messages import CANCELLED, Embed, Embeddings, Failed, Ranks, Rerank
from localrun.runner.prompts.rerank_pairs import PairVocabulary, RerankPairs

if TYPE_CHECKING:
    import numpy as np

    from localrun.chat.budget import Allowance

MOST_BYTES = 48 * 1024 * 1024  # of vectors in one answer, which is one frame
HINT = "shorten it, let it be cut (truncate), or ask for a larger context (num_ctx)"
NEARLY = 1e-3
LARGEST = 700.0  # whose exponential is a number
YES = "yes"  # what a head with several outputs calls the one that matters


class EmbeddingModel(PairVocabulary, Protocol):
    """What is needed of a model."""

    num_vocab: int

    @property
    def pooling(self) -> Pooling | None:
        """Return how the file wants vectors to be pooled."""

    @property
    def has_encoder(self) -> bool:
        """Return whether it is of two parts."""

    @property
    def embedding_length(self) -> int:
        """Return how many numbers an embedding has."""

    @property
    def class_labels(self) -> list[str]:
        """Return the names of the outputs of a head for ranking."""

    @property
    def ends_inputs(self) -> bool:
        """Return whether tokenizing puts a token at the end."""


class EmbeddingPreparer:
    """Makes jobs of messages for one loaded model; any thread may ask."""

    def __init__(self, model: EmbeddingModel, *, num_ctx: int) -> None:
        self._model = model
        self._num_ctx = num_ctx
        self._pairs = RerankPairs(model)

    def job(self, request: Embed | Rerank, allowance: Allowance) -> EmbeddingJob:
        """Return the job of a request.

        Raises:
            UsageError: the request is wrong, too long or too costly.
        """
        if self._model.has_encoder:
            raise UsageError("models with an encoder and a decoder (T5) are not supported")
        if isinstance(request, Embed):
            return self._embed(request, allowance)
        return self._rerank(request, allowance)

    def _embed(self, request: Embed, allowance: Allowance) -> EmbeddingJob:
        length = self._model.embedding_length
        pooling = request.pooling or self._model.pooling or Pooling.MEAN
        if pooling is Pooling.RANK:
            raise UsageError(
                "this model ranks documents and has no embeddings",
                hint="use /v1/rerank, or ask for another pooling (mean, cls, last)",
                param="pooling" if request.pooling else "model",
            )
        if request.dimensions is not None and not 0 < request.dimensions <= length:
            raise UsageError(
                f"dimensions is {request.dimensions}, the model has {length}", param="dimensions"
            )
        if 4 * length * len(request.inputs) > MOST_BYTES:
            raise UsageError(f"{len(request.inputs)} inputs are too many at once", param="input")
        inputs = [
            self._fitted(self._tokens(one, index, allowance), index, truncate=request.truncate)
            for index, one in enumerate(request.inputs)
        ]
        return EmbeddingJob(
            request_id=request.request_id,
            inputs=inputs,
            pooling=pooling,
            dimensions=request.dimensions,
        )

    def _tokens(self, one: str | tuple[int, ...], index: int, allowance: Allowance) -> list[int]:
        allowance.tick()
        if isinstance(one, str):
            tokens = self._model.tokenize(one, tick=allowance.tick)
        else:
            tokens = list(one)
        if not tokens:
            raise UsageError(f"input {index} is empty", param="input")
        wrong = [token for token in tokens if not 0 <= token < self._model.num_vocab]
        if wrong:
            raise UsageError(
                f"{wrong[0]} is no token: they are 0 to {self._model.num_vocab - 1}", param="input"
            )
        return tokens

    def _fitted(self, tokens: list[int], index: int, *, truncate: bool) -> list[int]:
        """Cut an input to the context, but leave it the token that ends it."""
        if len(tokens) <= self._num_ctx:
            return tokens
        if not truncate:
            raise ContextExceededError(
                f"input {index} has {len(tokens)} tokens, which exceeds the context length of"
                f" {self._num_ctx}",
                hint=HINT,
                param="input",
            )
        end = tokens[-1:] if self._model.ends_inputs else []
        return tokens[: self._num_ctx - len(end)] + end

    def _rerank(self, request: Rerank, allowance: Allowance) -> EmbeddingJob:
        if self._model.pooling is not Pooling.RANK:
            raise UsageError(
                "this model does not rank documents: it has no head for it",
                hint="localrun pull   a reranker, such as bge-reranker",
                param="model",
            )
        if not 0 < len(self._model.class_labels) <= self._model.embedding_length:
            raise UsageError("the model's head for ranking is damaged", param="model")
        most_tokens = self._num_ctx if request.truncate else None
        inputs = [
            self._pairs.fitted(request.query, document, most_tokens, allowance)
            for document in request.documents
        ]
        longest = max(range(len(inputs)), key=lambda index: len(inputs[index]))
        if len(inputs[longest]) > self._num_ctx:
            raise ContextExceededError(
                f"document {longest} and the query have {len(inputs[longest])} tokens, "
                f"the context {self._num_ctx}",
                hint=HINT,
                param="documents",
            )
        labels = self._model.class_labels
        return EmbeddingJob(
            request_id=request.request_id,
            inputs=inputs,
            pooling=Pooling.RANK,
            score_index=labels.index(YES) if YES in labels else 0,
        )


def job_event(job: EmbeddingJob) -> Embeddings | Ranks | Failed:
    """Return the terminal event of a job that ended."""
    if job.is_cancelled:
        return Failed(request_id=job.request_id, code=CANCELLED, message="cancelled")
    try:
        if job.failure is not None:
            raise job.failure
        return _scores(job) if job.pooling is Pooling.RANK else _embeddings(job)
    except LocalrunError as error:
        return _failed(job.request_id, error)


def _embeddings(job: EmbeddingJob) -> Embeddings:
    vectors = finished_vectors(job)
    return Embeddings(
        request_id=job.request_id,
        vectors=vectors.astype("<f4").tobytes(),
        dimensions=vectors.shape[1],
        token_counts=tuple(map(len, job.inputs)),
    )


def _scores(job: EmbeddingJob) -> Ranks:
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
    """Return one output as it is, or its share of several; some models give shares already."""
    are_shares = outputs.min() >= 0 and abs(float(outputs.sum()) - 1) < NEARLY
    if len(outputs) == 1 or are_shares:
        return float(outputs[index])
    return 1 / sum(math.exp(min(float(other - outputs[index]), LARGEST)) for other in outputs)


def _failed(request_id: int, error: LocalrunError) -> Failed:
    return Failed(
        request_id=request_id,
        code=error.code,
        message=error.message,
        hint=error.hint,
        param=error.param if isinstance(error, UsageError) else None,
    )
