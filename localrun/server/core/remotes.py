"""Remote models of the server: their requests, prepared from a recipe, and their answers.

Everything of `localrun.remote` that connects is imported at the first request. The engines belong
to the event loop; `prepare` and `target` are called in threads, and read the key's file.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from localrun.engine.params import OverflowPolicy
from localrun.errors import ContextExceededError
from localrun.remote.completion import CompletionOptions, remote_completion
from localrun.remote.fields import EngineFields
from localrun.remote.keys import read_key
from localrun.remote.model import RemoteTarget
from localrun.runner.messages import Finished
from localrun.server.core.client import is_background
from localrun.server.core.defaults import (
    generation_of,
    num_predict_of,
    recipe_sampling,
    stop_of,
)
from localrun.server.core.request import AnswerFinished, AnswerStarted, TokenScores

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from localrun.remote.completion import RemoteCompletion
    from localrun.remote.engines import RemoteEngines
    from localrun.remote.model import RemoteModel, RemoteTokens
    from localrun.remote.vectors import RemoteRanks
    from localrun.server.core.embedding import EmbeddingRequest, RankRequest
    from localrun.server.core.request import CompletionRequest, Reply
    from localrun.services.stored_model import StoredModel
    from localrun.settings import Settings

LONGEST_SILENCE_S = 86_400.0  # if the settings have no limit


class Remotes:
    """The remote models of one server."""

    def __init__(self, settings: Settings, environ: Mapping[str, str]) -> None:
        self._settings = settings
        self._environ = environ
        self._engines: RemoteEngines | None = None

    @property
    def open_requests(self) -> dict[str, int]:
        """Return the number of open requests by the full name of the model."""
        return {} if self._engines is None else self._engines.open_requests

    def target(self, model: StoredModel) -> RemoteTarget:
        """Return a remote model with its key; reads a small file.

        Raises:
            UsageError: the key cannot be read.
        """
        remote = _remote_of(model)
        return RemoteTarget(name=model.name, model=remote, key=read_key(remote, self._environ))

    def prepare(self, model: StoredModel, request: CompletionRequest) -> RemoteCompletion:
        """Return the request for an engine, with the defaults of the recipe.

        Raises:
            UsageError: the engine cannot do what the request states, or the key cannot be read.
        """
        target, recipe = self.target(model), model.recipe
        _check_context(target, request)
        sampling = recipe_sampling(recipe) | request.sampling
        if "seed" in sampling:  # several answers to one request are not to be all the same
            sampling["seed"] += request.choice
        options = CompletionOptions(
            sampling=sampling,
            num_predict=num_predict_of(recipe, request.num_predict, request.default_num_predict),
            stop=stop_of(recipe, request.stop),
            keeps_thoughts=request.keeps_thoughts,
            is_background=is_background(),
        )
        generation = generation_of(model, request.generation)
        return remote_completion(target, generation, options)

    async def stream(self, call: RemoteCompletion, found_s: float) -> AsyncGenerator[Reply, None]:
        """Yield the answer of an engine as `Completions.stream` does.

        Raises:
            LocalrunError: no engine answers, or it refuses, fails or breaks off.
        """
        from localrun.remote.engines import RemoteStarted
        from localrun.remote.reply import RemoteScores

        started = AnswerStarted(call.echo)
        async with contextlib.aclosing(self._open().stream(call)) as events:
            async for event in events:
                if isinstance(event, RemoteStarted):
                    yield started
                elif isinstance(event, RemoteScores):
                    yield TokenScores(event.scores)
                elif isinstance(event, Finished):
                    total_s = found_s + event.prompt_s + event.generation_s
                    yield AnswerFinished(
                        finished=event, started=started, load_s=found_s, total_s=total_s
                    )
                else:
                    yield event

    async def check(self, target: RemoteTarget) -> None:
        """Check that an engine of a remote model answers.

        Raises:
            LocalrunError: none does.
        """
        await self._open().check(target)

    async def embed(
        self, target: RemoteTarget, request: EmbeddingRequest
    ) -> tuple[tuple[bytes, ...], int]:
        """Return a vector for each input, and the number of tokens.

        Raises:
            UsageError: an engine cannot do what the request states.
            LocalrunError: no engine answers, or it refuses or fails.
        """
        from localrun.remote.vectors import embed

        fields = EngineFields(target.name, target.model)
        texts = [text for text in request.inputs if isinstance(text, str)]
        if len(texts) < len(request.inputs):
            raise fields.refused("input", why="token ids belong to another vocabulary; send text")
        if request.pooling is not None:
            raise fields.refused("pooling")
        embedded = await embed(
            self._open(),
            target,
            texts,
            dimensions=request.dimensions,
            truncate=request.truncate,
        )
        return embedded.vectors, embedded.num_tokens

    async def rank(self, target: RemoteTarget, request: RankRequest) -> RemoteRanks:
        """Return the scores of documents.

        Raises:
            LocalrunError: no engine answers, or it refuses or fails.
        """
        from localrun.remote.vectors import rank

        return await rank(
            self._open(),
            target,
            request.query,
            request.documents,
            truncate=request.truncate,
            raw_scores=request.raw_scores,
        )

    async def count(self, asked: RemoteTokens) -> int:
        """Return the number of tokens of a conversation.

        Raises:
            LocalrunError: the engine cannot count, or does not answer.
        """
        from localrun.remote.tokens import count_tokens

        return await count_tokens(self._open(), asked.target, asked.messages, asked.tools)

    async def close(self) -> None:
        """Close all connections; open answers fail."""
        if self._engines is not None:
            await self._engines.close()

    def _open(self) -> RemoteEngines:
        if self._engines is None:
            from localrun.remote.engines import RemoteEngines
            from localrun.remote.http import EngineHttp

            http = EngineHttp(
                self._environ,
                is_offline=self._settings.is_offline,
                silence_s=self._settings.remote_timeout_s or LONGEST_SILENCE_S,
            )
            self._engines = RemoteEngines(http)
        return self._engines


def _remote_of(model: StoredModel) -> RemoteModel:
    if model.remote is None:
        raise TypeError(f"{model.name} is not remote")
    return model.remote


def _check_context(target: RemoteTarget, request: CompletionRequest) -> None:
    """Refuse a context that the engine does not have, and policies that it does not know."""
    known, wanted = target.model.context_length, request.num_ctx
    if known is not None and wanted is not None and wanted > known:
        raise ContextExceededError(
            f"{target.name} has a context of {known} tokens at its engine, not {wanted}",
            param="num_ctx",
        )
    fields = EngineFields(target.name, target.model)
    policy = request.overflow
    if policy not in {None, OverflowPolicy(), request.default_overflow}:
        raise fields.refused("overflow", why="the engine decides what happens at the end of it")
    if request.num_keep is not None:
        raise fields.refused("num_keep")
