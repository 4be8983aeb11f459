"""``/v1/chat/completions``: the answer to a parsed request, whole or as server-sent events."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from localrun.server.core.choices import stream_choices
from localrun.server.openai.chat_builder import ChatCompletionBuilder

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from localrun.runner.messages import JsonObject
    from localrun.server.core.completions import Completions
    from localrun.server.core.request import Reply
    from localrun.server.openai.chat_request import ChatCall


async def complete(call: ChatCall, completions: Completions) -> JsonObject:
    """Return the whole completion."""
    builder = ChatCompletionBuilder(call.request.model, call.num_choices, is_legacy=call.is_legacy)
    async with _replies(call, completions) as replies:
        async for index, part in replies:
            builder.add(index, part)
    return builder.completion()


async def stream(call: ChatCall, completions: Completions) -> AsyncGenerator[bytes, None]:
    """Yield server-sent events, the first when the prompt is accepted.

    Raises:
        LocalrunError: the request is refused, or fails after some events.
    """
    builder = ChatCompletionBuilder(call.request.model, call.num_choices, is_legacy=call.is_legacy)
    async with _replies(call, completions) as replies:
        yield builder.event_of(*await anext(replies)) or b""
        async for index, part in replies:
            event = builder.event_of(index, part)
            if event is not None:
                yield event
        if call.include_usage:
            yield builder.usage_event()


def _replies(
    call: ChatCall, completions: Completions
) -> contextlib.aclosing[AsyncGenerator[tuple[int, Reply], None]]:
    return contextlib.aclosing(stream_choices(completions, call.request, call.num_choices))
