"""Where responses are asked for and kept.

Who asks reads the stream, waits for the whole, or does neither (in the background). When
one of the first two leaves, the response is cancelled.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from localrun.errors import OverloadedError, UsageError
from localrun.server.core.defaults import sampling_of
from localrun.server.framing import named_sse_events
from localrun.server.openai.responses.builder import ResponseBuilder
from localrun.server.openai.responses.store import MOST_BYTES, ResponseStore, kept
from localrun.server.openai.responses.task import ResponseTask

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from localrun.errors import LocalrunError
    from localrun.server.core.completions import Completions
    from localrun.server.openai.responses.request import ResponsesCall
    from localrun.server.openai.responses.store import KeptItem
    from localrun.server.parsing.fields import JsonObject
    from localrun.services.stored_model import StoredModel

SAMPLING = ("temperature", "top_p", "presence_penalty", "frequency_penalty")


class ResponseService:
    """All responses of a server."""

    def __init__(self, completions: Completions, find_model: Callable[[str], StoredModel]) -> None:
        self.store = ResponseStore()
        self._completions = completions
        self._find_model = find_model
        self._coming: dict[str, ResponseTask] = {}

    async def whole(self, call: ResponsesCall) -> JsonObject:
        """Return a response when it has ended.

        Raises:
            LocalrunError: the request is refused, or fails.
        """
        coming = await self._begin(call)
        await coming.task
        if coming.error is not None:
            raise coming.error
        return coming.answer.whole()

    async def begin(self, call: ResponsesCall) -> JsonObject:
        """Return a response that comes in the background.

        Raises:
            LocalrunError: there is no such model.
            OverloadedError: the input of the responses that come is too large already.
        """
        num_bytes = call.num_bytes + sum(one.call.num_bytes for one in self._coming.values())
        if num_bytes > MOST_BYTES:
            raise OverloadedError(f"responses in the background have {num_bytes} bytes of input")
        return (await self._begin(call)).answer.whole()

    async def stream(self, call: ResponsesCall) -> AsyncGenerator[bytes, None]:
        """Yield a response as server-sent events; an error in the middle is the last one.

        Raises:
            LocalrunError: the request is refused; nothing was yielded then.
        """
        coming = await self._begin(call)
        try:
            async for events in coming.events():
                yield named_sse_events(events)
            await coming.task
            if coming.error is not None and not coming.is_open:
                raise coming.error
        finally:
            coming.task.cancel()

    def find(self, number: str) -> JsonObject:
        """Return a response, whole or as far as it has come.

        Raises:
            NotFoundError: it is not here, or no longer.
        """
        coming = self._coming.get(number)
        return coming.answer.whole() if coming else self.store.get(number).response

    def input_of(self, number: str) -> tuple[KeptItem, ...]:
        """Return the items that a response answers.

        Raises:
            NotFoundError: it is not here, or no longer.
        """
        coming = self._coming.get(number)
        return coming.call.input if coming else self.store.get(number).input

    async def cancel(self, number: str) -> JsonObject:
        """End a response that comes, and return it.

        Raises:
            NotFoundError: it is not here, or no longer.
            UsageError: it has ended.
        """
        coming = self._coming.get(number)
        if coming is None:
            status = self.store.get(number).response["status"]
            raise UsageError(f"the response {number} cannot be cancelled: it is {status}")
        coming.task.cancel()
        await asyncio.wait([coming.task])
        return coming.answer.whole()

    async def delete(self, number: str) -> JsonObject:
        """Forget a response; one that comes is cancelled first.

        Raises:
            NotFoundError: it is not here, or no longer.
        """
        if number in self._coming:
            await self.cancel(number)
        self.store.delete(number)
        return {"id": number, "object": "response", "deleted": True}

    async def _begin(self, call: ResponsesCall) -> ResponseTask:
        model = await asyncio.to_thread(self._find_model, call.request.model)
        used = sampling_of(model.recipe, call.request.sampling)
        told = {name: getattr(used, name) for name in SAMPLING}
        coming = ResponseTask(replace(call, repeated={**call.repeated, **told}), self._completions)
        self._coming[coming.answer.id] = coming
        coming.task.add_done_callback(lambda _: self._end(coming))
        return coming

    def _end(self, coming: ResponseTask) -> None:
        """Keep a response that has ended, if it is to be kept and its request was not refused."""
        call, response = coming.call, coming.answer.whole()
        del self._coming[response["id"]]
        if call.stores and (coming.is_open or call.background):
            self.store.add(kept(response, call.input))


def failed(call: ResponsesCall, error: LocalrunError) -> bytes:
    """Return the only event of a request that is refused when its status is said already."""
    return named_sse_events(ResponseBuilder(call).fail(error))
