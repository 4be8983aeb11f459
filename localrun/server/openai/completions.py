"""``/v1/completions``: the answer to a parsed request, whole or as server-sent events."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from localrun.server.core.choices import stream_each
from localrun.server.openai.completion_builder import TextCompletionBuilder

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from localrun.runner.messages import JsonObject
    from localrun.server.core.completions import Completions
    from localrun.server.core.request import Reply
    from localrun.server.openai.completion_request import CompletionCall


async def complete(call: CompletionCall, completions: Completions) -> JsonObject:
    """Return the whole completion."""
    builder = _builder(call)
    async with _replies(call, completions) as replies:
        async for index, part in replies:
            builder.add(index, part)
    return builder.completion()


async def stream(call: CompletionCall, completions: Completions) -> AsyncGenerator[bytes, None]:
    """Yield server-sent events, the first when the prompt is accepted.

    Raises:
        LocalrunError: the request is refused, or fails after some events.
    """
    builder = _builder(call)
    async with _replies(call, completions) as replies:
        yield builder.event_of(*await anext(replies)) or b""
        async for index, part in replies:
            event = builder.event_of(index, part)
            if event is not None:
                yield event
        if call.streaming.include_usage:
            yield builder.usage_event()


def _builder(call: CompletionCall) -> TextCompletionBuilder:
    return TextCompletionBuilder(call.requests[0].model, len(call.requests), call.num_choices)


def _replies(
    call: CompletionCall, completions: Completions
) -> contextlib.aclosing[AsyncGenerator[tuple[int, Reply], None]]:
    return contextlib.aclosing(stream_each(completions, call.requests))
