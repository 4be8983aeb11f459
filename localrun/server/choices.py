"""Several answers to one request, side by side.

Each is a request of its own to the runner, with a seed of its own; they share the
prefill as any requests with a common beginning do. When one fails, so do all.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from localrun.server.core import CompletionRequest, Completions, Reply

MOST_CHOICES = 64

_Queue = asyncio.Queue["tuple[int, Reply | Exception | None]"]


async def stream_choices(
    completions: Completions, request: CompletionRequest, count: int
) -> AsyncGenerator[tuple[int, Reply], None]:
    """Yield what `Completions.stream` does for each of ``count`` answers, with its number.

    Raises:
        LocalrunError: one of them ended in an error; the others are cancelled.
    """
    if count == 1:
        async with contextlib.aclosing(completions.stream(request)) as events:
            async for event in events:
                yield 0, event
        return
    queue: _Queue = asyncio.Queue()
    tasks = [
        asyncio.create_task(_feed(queue, completions, replace(request, choice=choice)))
        for choice in range(count)
    ]
    try:
        num_open = count
        while num_open:
            choice, found = await queue.get()
            if isinstance(found, Exception):
                raise found
            if found is None:
                num_open -= 1
            else:
                yield choice, found
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _feed(queue: _Queue, completions: Completions, request: CompletionRequest) -> None:
    """Put the events of one answer, then None or what ended it."""
    end: Exception | None = None
    try:
        async with contextlib.aclosing(completions.stream(request)) as events:
            async for event in events:
                queue.put_nowait((request.choice, event))
    except Exception as error:  # noqa: BLE001 - raised by who reads the queue
        end = error
    queue.put_nowait((request.choice, end))
