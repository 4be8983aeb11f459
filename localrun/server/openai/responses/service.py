"""Responses of a server: generated in tasks, kept in memory.

A client reads the stream, waits for the whole response, or leaves it in the background. In the
first two cases a disconnect cancels the response. Used on the event loop only, so that the tasks
need no lock; the store has its own.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from localrun.errors import OverloadedError, UsageError
from localrun.server.core.defaults import sampling_of
from localrun.server.framing import named_sse_events
from localrun.server.openai.responses.builder import ResponseBuilder
from localrun.server.openai.responses.store import MAX_BYTES, ResponseStore, kept
from localrun.server.openai.responses.task import ResponseTask

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from localrun.errors import LocalrunError
    from localrun.runner.messages import JsonObject
    from localrun.server.core.completions import Completions
    from localrun.server.openai.responses.request import ResponsesCall
    from localrun.server.openai.responses.store import KeptItem
    from localrun.services.stored_model import StoredModel

SAMPLING = ("temperature", "top_p", "presence_penalty", "frequency_penalty")


class ResponseService:
    """All responses of a server: running tasks, and the store of ended responses."""

    def __init__(self, completions: Completions, find_model: Callable[[str], StoredModel]) -> None:
        self.store = ResponseStore()
        self._completions = completions
        self._find_model = find_model
        self._tasks: dict[str, ResponseTask] = {}  # by the id of the response

    async def complete(self, call: ResponsesCall) -> JsonObject:
        """Return a response when it has ended.

        Raises:
            LocalrunError: the request is refused, or fails.
        """
        running = await self._start(call)
        await running.task
        if running.error is not None:
            raise running.error
        return running.builder.response()

    async def start(self, call: ResponsesCall) -> JsonObject:
        """Start a response in the background and return it as it is now.

        Raises:
            LocalrunError: the model does not exist.
            OverloadedError: the inputs of the running responses are too large together.
        """
        num_bytes = call.num_bytes + sum(task.call.num_bytes for task in self._tasks.values())
        if num_bytes > MAX_BYTES:
            raise OverloadedError(f"responses in the background have {num_bytes} bytes of input")
        return (await self._start(call)).builder.response()

    async def stream(self, call: ResponsesCall) -> AsyncGenerator[bytes, None]:
        """Yield a response as server-sent events; an error after its start is the last event.

        Raises:
            LocalrunError: the request is refused; nothing was yielded before.
        """
        running = await self._start(call)
        try:
            async for events in running.events():
                yield named_sse_events(events)
            await running.task
            if running.error is not None and not running.is_accepted:
                raise running.error
        finally:
            running.task.cancel()

    def find(self, response_id: str) -> JsonObject:
        """Return a response, complete or as far as it is generated.

        Raises:
            NotFoundError: there is no such response, or not any more.
        """
        running = self._tasks.get(response_id)
        return running.builder.response() if running else self.store.get(response_id).response

    def input_of(self, response_id: str) -> tuple[KeptItem, ...]:
        """Return the input items of a response.

        Raises:
            NotFoundError: there is no such response, or not any more.
        """
        running = self._tasks.get(response_id)
        return running.call.input if running else self.store.get(response_id).input

    async def cancel(self, response_id: str) -> JsonObject:
        """Cancel a running response and return it.

        Raises:
            NotFoundError: there is no such response, or not any more.
            UsageError: the response has ended.
        """
        running = self._tasks.get(response_id)
        if running is None:
            status = self.store.get(response_id).response["status"]
            raise UsageError(f"the response {response_id} cannot be cancelled: it is {status}")
        running.task.cancel()
        await asyncio.wait([running.task])
        return running.builder.response()

    async def delete(self, response_id: str) -> JsonObject:
        """Delete a response; a running response is cancelled first.

        Raises:
            NotFoundError: there is no such response, or not any more.
        """
        if response_id in self._tasks:
            await self.cancel(response_id)
        self.store.delete(response_id)
        return {"id": response_id, "object": "response", "deleted": True}

    async def _start(self, call: ResponsesCall) -> ResponseTask:
        model = await asyncio.to_thread(self._find_model, call.request.model)
        sampling = sampling_of(model.recipe, call.request.sampling)
        repeated = {**call.repeated, **{name: getattr(sampling, name) for name in SAMPLING}}
        running = ResponseTask(replace(call, repeated=repeated), self._completions)
        self._tasks[running.builder.id] = running
        running.task.add_done_callback(lambda _: self._keep(running))
        return running

    def _keep(self, ended: ResponseTask) -> None:
        """Move a response that has ended to the store, unless its request was refused."""
        call, response = ended.call, ended.builder.response()
        del self._tasks[response["id"]]
        if call.stores and (ended.is_accepted or call.background):
            self.store.add(kept(response, call.input))


def failed(call: ResponsesCall, error: LocalrunError) -> bytes:
    """Return the only event of a request that is refused after the HTTP status was sent."""
    return named_sse_events(ResponseBuilder(call).fail(error))
