"""Answers of chat and text models, as streams of events.

Turns a `CompletionRequest` into the runner's `Generate`, and the runner's events into `Reply`
values. Knows no API. Invariant: an answer ends in one `AnswerFinished` or in an exception.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from localrun.remote.completion import RemoteCompletion
from localrun.remote.model import RemoteTarget
from localrun.runner.messages import Finished, Generate, Started, Step
from localrun.server.core.bridge import EventStream, PoolRequest, end_of
from localrun.server.core.defaults import (
    generation_of,
    keep_alive_of,
    num_predict_of,
    overflow_of,
    sampling_of,
    stop_of,
)
from localrun.server.core.media import check_media
from localrun.server.core.reply_reader import ReplyReader
from localrun.server.core.request import AnswerFinished, AnswerStarted, TokenScores
from localrun.services.capabilities import check_can_answer
from localrun.services.remotes.stored import refuse_draft
from localrun.services.runner_models import runner_model
from localrun.settings import NONE
from localrun.supervisor.model import RequestOptions

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from localrun.chat.stream_parser import Part
    from localrun.engine.params import SamplingParams
    from localrun.runner.messages import Event
    from localrun.server.core.bridge import Bridge
    from localrun.server.core.media import AddressedMedia
    from localrun.server.core.remotes import Remotes
    from localrun.server.core.request import CompletionRequest, Reply
    from localrun.services.stored_model import StoredModel
    from localrun.supervisor.model import KeepAlive, RunnerModel

    WithDraft = Callable[[RunnerModel, str | None], RunnerModel]


def without_drafts(order: RunnerModel, _name: str | None) -> RunnerModel:
    """Return what to load, whatever draft model a request names."""
    return order


class Completions:
    """Answers requests by the runners of a pool."""

    def __init__(
        self,
        bridge: Bridge,
        find_model: Callable[[str], StoredModel],
        remotes: Remotes,
        media: AddressedMedia,
        with_draft: WithDraft = without_drafts,
    ) -> None:
        """``media`` fetches what a prompt names by its address."""
        self._media = media
        self._with_draft = with_draft
        self._bridge = bridge
        self._find_model = find_model
        self._remotes = remotes

    async def stream(self, request: CompletionRequest) -> AsyncGenerator[Reply, None]:
        """Yield `AnswerStarted`, the parts of the answer as they come, then one `AnswerFinished`.

        Raises:
            LocalrunError: no such model, it does not load, the prompt does not fit (all
                before `AnswerStarted`), or the runner or the engine of a remote model fails.
        """
        begun = time.monotonic()
        prompt, num_answers = request.generation.prompt, request.num_answers
        async with (
            self._media.fetched(prompt, request.model, num_answers),
            self._bridge.submitted(partial(self._prepare, request)) as events,
        ):
            found_s = time.monotonic() - begun
            if isinstance(events, RemoteCompletion):
                async with contextlib.aclosing(self._remotes.stream(events, found_s)) as replies:
                    async for reply in replies:
                        yield reply
                return
            if not isinstance(events, EventStream):
                raise TypeError(f"no completion: {type(events).__name__}")
            reader, started = ReplyReader(request), AnswerStarted()
            while True:
                event = await events.receive()
                if isinstance(event, Started):
                    reader.start(event)
                    started = _started(event)
                    yield started
                for part in _parts(event, reader):
                    yield part
                if isinstance(event, Finished):
                    break
            yield AnswerFinished(
                finished=event,
                started=started,
                load_s=events.load_s or found_s,
                total_s=time.monotonic() - begun,
            )

    async def load(
        self,
        name: str,
        *,
        num_ctx: int | None,
        keep_alive: KeepAlive | None,
        pins: bool = False,
        draft: str | None = None,
    ) -> float:
        """Load a model without generating; return the seconds that took.

        The load is broken off if the caller is cancelled and no other request waits for it. Of a
        remote model, an engine is asked whether it is there.
        """

        def prepare() -> PoolRequest | RemoteTarget:
            model = self._find_model(name)
            check_can_answer(model)
            if model.remote is not None:
                refuse_draft(model, draft)
                return self._remotes.target(model)
            stays = keep_alive_of(model.recipe, keep_alive)
            options = RequestOptions(num_ctx=num_ctx, keep_alive=stays, pins=pins)
            order = self._with_draft(runner_model(model), draft)
            return PoolRequest(model=order, message=None, options=options)

        async with self._bridge.submitted(prepare) as events:
            if isinstance(events, EventStream):
                await end_of(events, Finished)
                return events.load_s
            if isinstance(events, RemoteTarget):
                await self._remotes.check(events)
            return 0.0

    async def unload(self, name: str) -> bool:
        """Unload a model, also one that is not stored any more; return whether it was loaded.

        Raises:
            ModelNotFoundError: no model of the name is loaded, and none is stored.
        """
        if await self._bridge.unload(name):
            return True
        await asyncio.to_thread(self._find_model, name)
        return False

    def _prepare(self, request: CompletionRequest) -> PoolRequest | RemoteCompletion:
        model = self._find_model(request.model)
        check_can_answer(model)
        check_media(request.generation.prompt, model)
        if model.remote is not None:
            refuse_draft(model, request.draft)
            return self._remotes.prepare(model, request)
        recipe = model.recipe
        generate = Generate(
            request_id=0,  # the pool numbers requests
            generation=generation_of(model, request.generation),
            sampling=_of_choice(sampling_of(recipe, request.sampling), request.choice),
            num_predict=num_predict_of(recipe, request.num_predict, request.default_num_predict),
            stop=stop_of(recipe, request.stop),
            overflow=overflow_of(
                recipe, request.overflow, request.num_keep, request.default_overflow
            ),
            adapters=tuple((str(path), scale) for path, scale in model.adapters),
            model_name=model.name,
            uses_draft_model=(request.draft or "").lower() != NONE,
        )
        return PoolRequest(
            model=self._with_draft(runner_model(model), request.draft),
            message=generate,
            options=RequestOptions(
                num_ctx=request.num_ctx, keep_alive=keep_alive_of(recipe, request.keep_alive)
            ),
        )


def _started(event: Started) -> AnswerStarted:
    return AnswerStarted(
        event.prompt, event.dropped_messages, event.dropped_tokens, event.prompt_tokens
    )


def _parts(event: Event, reader: ReplyReader) -> Sequence[TokenScores | Part]:
    """Return the parts of the answer that are certain after an event."""
    if isinstance(event, Step):
        scores = [TokenScores(scores) for _, scores in event.scores]
        return [*scores, *reader.push("".join(text for _, text in event.deltas))]
    return reader.finish(event.reason) if isinstance(event, Finished) else []


def _of_choice(sampling: SamplingParams, choice: int) -> SamplingParams:
    """Return the sampling of one of several answers, which are not to be all the same."""
    return sampling if sampling.seed is None else replace(sampling, seed=sampling.seed + choice)
