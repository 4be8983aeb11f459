"""Answer a request by the runner of its model, as a stream of events.

The bridge between the blocking pool and asyncio is `Completions.stream`: events
come from a runner's thread and cross by one ``call_soon_threadsafe``. When the
consumer goes away, the request is cancelled.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

from localrun.chat.profiles.recognition import profile_of
from localrun.errors import error_named
from localrun.runner.messages import Failed, Finished, Generate, Started, Step
from localrun.server.core.client import current_client
from localrun.server.core.defaults import (
    generation_of,
    keep_alive_of,
    num_predict_of,
    overflow_of,
    sampling_of,
    stop_of,
)
from localrun.server.core.loads import until_loaded
from localrun.server.core.reply_reader import PLAIN, ReplyReader
from localrun.server.core.request import AnswerFinished, AnswerStarted, TokenScores
from localrun.services.capabilities import check_can_answer
from localrun.services.runner_models import runner_model
from localrun.supervisor.model import RequestOptions

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from localrun.chat.profiles.profile import Profile
    from localrun.chat.stream_parser import Part
    from localrun.engine.params import SamplingParams
    from localrun.runner.messages import Event
    from localrun.server.core.request import CompletionRequest, Reply
    from localrun.services.stored_model import StoredModel
    from localrun.supervisor.model import KeepAlive
    from localrun.supervisor.pool import RunnerPool
    from localrun.supervisor.request_queue import RequestHandle

NUM_THREADS = 64  # read models' files, and wait for loads without a question


class Completions:
    """Answers requests by the runners of a pool."""

    def __init__(self, pool: RunnerPool, find_model: Callable[[str], StoredModel]) -> None:
        self._pool = pool
        self._find_model = find_model
        self._threads = ThreadPoolExecutor(NUM_THREADS, thread_name_prefix="submit")

    async def stream(self, request: CompletionRequest) -> AsyncGenerator[Reply, None]:
        """Yield `AnswerStarted`, the parts of the answer as they come, then one `AnswerFinished`.

        Raises:
            LocalrunError: no such model, it does not load, the prompt does not fit (all
                before `AnswerStarted`), or the runner fails.
        """
        begun = time.monotonic()
        loop = asyncio.get_running_loop()
        events: asyncio.Queue[Event] = asyncio.Queue()

        def sink(event: Event) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens
                loop.call_soon_threadsafe(events.put_nowait, event)

        submit = contextvars.copy_context().run  # with the request's id, for the log
        submission = loop.run_in_executor(self._threads, submit, self._submit, request, sink)
        try:
            ticket, profile = await asyncio.shield(submission)
            found_s = time.monotonic() - begun
        except asyncio.CancelledError:  # the client left meanwhile
            submission.add_done_callback(self._cancel_late)
            raise
        try:
            started = AnswerStarted()
            async for event in _parts(events, ReplyReader(request, profile)):
                if isinstance(event, AnswerStarted):
                    started = event
                if isinstance(event, Finished):
                    yield AnswerFinished(
                        finished=event,
                        started=started,
                        load_s=ticket.load_s or found_s,
                        total_s=time.monotonic() - begun,
                    )
                else:
                    yield event
        finally:
            self._threads.submit(ticket.cancel)  # a runner that is busy may let it wait

    async def load(
        self, name: str, *, num_ctx: int | None, keep_alive: KeepAlive | None, pins: bool = False
    ) -> float:
        """Load a model without generating; return the seconds that took.

        When the caller is cancelled and nobody else waits for it, so is the load.
        """
        model = await asyncio.to_thread(self._find_model, name)
        check_can_answer(model)
        stays = keep_alive_of(model.recipe, keep_alive)
        wanted = RequestOptions(
            num_ctx=num_ctx, keep_alive=stays, client=current_client(), pins=pins
        )
        return await until_loaded(self._pool.begin_load(runner_model(model), wanted), self._threads)

    async def unload(self, name: str) -> bool:
        """Unload a model, also one whose name is gone; return whether it was loaded.

        Raises:
            ModelNotFoundError: nothing is loaded under the name, and there is no such model.
        """
        if await asyncio.to_thread(self._pool.unload, name):
            return True
        await asyncio.to_thread(self._find_model, name)
        return False

    def _submit(
        self, request: CompletionRequest, sink: Callable[[Event], None]
    ) -> tuple[RequestHandle, Profile]:
        model = self._find_model(request.model)
        check_can_answer(model)
        recipe = model.recipe
        generation = generation_of(model, request.generation)
        is_chat = generation.prompt.messages is not None
        profile = profile_of(generation.prompt.chat_template) if is_chat else PLAIN
        generate = Generate(
            request_id=0,  # the pool numbers requests
            generation=generation,
            sampling=_of_choice(sampling_of(recipe, request.sampling), request.choice),
            num_predict=num_predict_of(recipe, request.num_predict, request.default_num_predict),
            stop=stop_of(recipe, request.stop),
            overflow=overflow_of(
                recipe, request.overflow, request.num_keep, request.default_overflow
            ),
            adapters=tuple((str(path), scale) for path, scale in model.adapters),
        )
        ticket = self._pool.submit(
            runner_model(model),
            generate,
            sink,
            RequestOptions(
                num_ctx=request.num_ctx,
                keep_alive=keep_alive_of(recipe, request.keep_alive),
                client=current_client(),
            ),
        )
        return ticket, profile

    def _cancel_late(self, submission: asyncio.Future[tuple[RequestHandle, Profile]]) -> None:
        if not submission.cancelled() and submission.exception() is None:
            self._threads.submit(submission.result()[0].cancel)


async def _parts(
    events: asyncio.Queue[Event], reader: ReplyReader
) -> AsyncGenerator[AnswerStarted | TokenScores | Part | Finished, None]:
    """Take the runner's events apart until the terminal one."""
    while True:
        event = await events.get()
        if isinstance(event, Started):
            reader.start(event)
            yield _opened(event)
        elif isinstance(event, Step):
            for part in _moved(event, reader):
                yield part
        elif isinstance(event, Failed):
            raise error_named(event.code, event.message, hint=event.hint, param=event.param)
        elif isinstance(event, Finished):
            for part in reader.finish(event.reason):
                yield part
            yield event
            return


def _opened(started: Started) -> AnswerStarted:
    return AnswerStarted(
        started.prompt, started.dropped_messages, started.dropped_tokens, started.prompt_tokens
    )


def _of_choice(sampling: SamplingParams, choice: int) -> SamplingParams:
    """Return the sampling of one of several answers, which are not to be all the same."""
    return sampling if sampling.seed is None else replace(sampling, seed=sampling.seed + choice)


def _moved(step: Step, reader: ReplyReader) -> list[TokenScores | Part]:
    """Return what a step of one request did."""
    scores = [TokenScores(found) for _, found in step.scores]
    return [*scores, *reader.push("".join(text for _, text in step.deltas))]
