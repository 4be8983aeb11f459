"""Concurrent answers to one request, or to its several prompts (``n``, lists of prompts).

Each answer is a separate request to the runner with its own seed; the prefix cache shares their
prefill. Invariant: if one fails, the others are cancelled.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Sequence

    from localrun.server.core.completions import Completions
    from localrun.server.core.request import CompletionRequest, Reply

MAX_CHOICES = 64

_Queue = asyncio.Queue["tuple[int, Reply | Exception | None]"]


def stream_choices(
    completions: Completions, request: CompletionRequest, count: int
) -> AsyncGenerator[tuple[int, Reply], None]:
    """Yield the events of ``count`` answers, each with the index of its answer.

    Raises:
        LocalrunError: an answer failed; the others are cancelled.
    """
    return stream_each(completions, choices_of(request, count))


def choices_of(
    request: CompletionRequest, count: int, num_prompts: int = 1
) -> list[CompletionRequest]:
    """Return ``count`` copies of a request with consecutive choice indices.

    ``num_prompts`` is the number of such requests that are answered together.
    """
    num_answers = count * num_prompts
    return [replace(request, choice=choice, num_answers=num_answers) for choice in range(count)]


async def stream_each(
    completions: Completions, requests: Sequence[CompletionRequest]
) -> AsyncGenerator[tuple[int, Reply], None]:
    """Yield the events of `Completions.stream` for each request, with the index of the request.

    Raises:
        LocalrunError: an answer failed; the others are cancelled.
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
            place, item = await queue.get()
            if isinstance(item, Exception):
                raise item
            if item is None:
                num_open -= 1
            else:
                yield place, item
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def stream_in_order(
    completions: Completions, requests: Iterable[CompletionRequest], num_together: int
) -> AsyncGenerator[tuple[int, Reply], None]:
    """Yield the events of each request after those of the one before it.

    ``num_together`` requests are answered at the same time, with the one whose events are due.
    Each is taken from ``requests`` when it begins, and dropped when it has been answered.

    Raises:
        LocalrunError: an answer failed; the others are cancelled.
    """
    waiting = iter(enumerate(requests))
    queues: deque[_Queue] = deque()
    tasks: deque[asyncio.Task[None]] = deque()
    try:
        while True:
            for place, request in islice(waiting, num_together - len(tasks)):
                queues.append(asyncio.Queue())
                tasks.append(asyncio.create_task(_feed(queues[-1], completions, place, request)))
            if not tasks:
                return
            while True:
                place, item = await queues[0].get()
                if isinstance(item, Exception):
                    raise item
                if item is None:
                    break
                yield place, item
            queues.popleft()
            tasks.popleft()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _feed(
    queue: _Queue, completions: Completions, place: int, request: CompletionRequest
) -> None:
    """Put the events of one answer, then None, or the exception that ended it."""
    end: Exception | None = None
    try:
        async with contextlib.aclosing(completions.stream(request)) as events:
            async for event in events:
                queue.put_nowait((place, event))
    except Exception as error:  # noqa: BLE001 - the reader of the queue raises it
        end = error
    queue.put_nowait((place, end))
