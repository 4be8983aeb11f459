"""Preparation of `Embed` and `Rerank`: from a message to an `EmbeddingJob` of token ids.

Knows the vocabulary and the limits of one model, not the engine. Invariant: no input of a job
is empty or longer than the context, since llama.cpp would abort the process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from localrun.engine.embedder import EmbeddingJob
from localrun.engine.params import Pooling
from localrun.errors import ContextExceededError, UsageError
from localrun.runner.messages import Embed, Rerank
from localrun.runner.prompts.rerank_pairs import PairVocabulary, RerankPairs

if TYPE_CHECKING:
    from localrun.chat.budget import Allowance

MAX_BYTES = 48 * 1024 * 1024  # of the vectors of one request, which travel in one frame
HINT = "shorten it, let it be cut (truncate), or ask for a larger context (num_ctx)"
YES = "yes"  # label of the relevant output of a head with several outputs


class EmbeddingModel(PairVocabulary, Protocol):
    """Properties of a model that decide which jobs it can compute."""

    num_vocab: int

    @property
    def pooling(self) -> Pooling | None:
        """Return the pooling stated in the GGUF file."""

    @property
    def has_encoder(self) -> bool:
        """Return whether the model is an encoder-decoder (T5)."""

    @property
    def embedding_length(self) -> int:
        """Return the number of dimensions of an embedding."""

    @property
    def class_labels(self) -> list[str]:
        """Return the labels of the outputs of a rerank head."""

    @property
    def ends_inputs(self) -> bool:
        """Return whether tokenizing appends a token."""


class EmbeddingPreparer:
    """Jobs from messages, for one loaded model; any thread may call."""

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
        if 4 * length * len(request.inputs) > MAX_BYTES:
            raise UsageError(f"{len(request.inputs)} inputs are too many at once", param="input")
        inputs = [
            self._fitted(self._tokens(text, index, allowance), index, truncate=request.truncate)
            for index, text in enumerate(request.inputs)
        ]
        return EmbeddingJob(
            request_id=request.request_id,
            inputs=inputs,
            pooling=pooling,
            dimensions=request.dimensions,
        )

    def _tokens(self, text: str | tuple[int, ...], index: int, allowance: Allowance) -> list[int]:
        allowance.tick()
        if isinstance(text, str):
            tokens = self._model.tokenize(text, tick=allowance.tick)
        else:
            tokens = list(text)
        if not tokens:
            raise UsageError(f"input {index} is empty", param="input")
        invalid = [token for token in tokens if not 0 <= token < self._model.num_vocab]
        if invalid:
            raise UsageError(
                f"{invalid[0]} is no token: they are 0 to {self._model.num_vocab - 1}",
                param="input",
            )
        return tokens

    def _fitted(self, tokens: list[int], index: int, *, truncate: bool) -> list[int]:
        """Truncate an input to the context; its final separator token stays."""
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
        max_tokens = self._num_ctx if request.truncate else None
        inputs = [
            self._pairs.fitted(request.query, document, max_tokens, allowance)
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
