"""Several answers, to one request or to several prompts of it, side by side.

Each is a request of its own to the runner, with a seed of its own; they share the
prefill as any requests with a common beginning do. When one fails, so do all.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from localrun.server.core.completions import Completions
    from localrun.server.core.request import CompletionRequest, Reply

MOST_CHOICES = 64

_Queue = asyncio.Queue["tuple[int, Reply | Exception | None]"]


def stream_choices(
    completions: Completions, request: CompletionRequest, count: int
) -> AsyncGenerator[tuple[int, Reply], None]:
    """Yield what `Completions.stream` does for each of ``count`` answers, with its number.

    Raises:
        LocalrunError: one of them ended in an error; the others are cancelled.
    """
    return stream_each(completions, choices_of(request, count))


def choices_of(request: CompletionRequest, count: int) -> list[CompletionRequest]:
    """Return a request for each of several answers."""
    return [replace(request, choice=choice) for choice in range(count)]


async def stream_each(
    completions: Completions, requests: Sequence[CompletionRequest]
) -> AsyncGenerator[tuple[int, Reply], None]:
    """Yield what `Completions.stream` does for each request, with its place among them.

    Raises:
        LocalrunError: one of them ended in an error; the others are cancelled.
    """
    if len(requests) == 1:
        async with contextlib.aclosing(completions.stream(requests[0])) as events:
            async for event in events:
                yield 0, event
        return
    queue: _Queue = asyncio.Queue()
    tasks = [
        asyncio.create_task(_feed(queue, completions, place, request))
        for place, request in enumerate(requests)
    ]
    try:
        num_open = len(tasks)
        while num_open:
            place, found = await queue.get()
            if isinstance(found, Exception):
                raise found
            if found is None:
                num_open -= 1
            else:
                yield place, found
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _feed(
    queue: _Queue, completions: Completions, place: int, request: CompletionRequest
) -> None:
    """Put the events of one answer, then None or what ended it."""
    end: Exception | None = None
    try:
        async with contextlib.aclosing(completions.stream(request)) as events:
            async for event in events:
                queue.put_nowait((place, event))
    except Exception as error:  # noqa: BLE001 - raised by who reads the queue
        end = error
    queue.put_nowait((place, end))
