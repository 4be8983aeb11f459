"""``/v1/messages``: whole messages, streams, and token counts of requests."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from localrun.server.anthropic.builder import MessageBuilder
from localrun.server.framing import named_sse_events

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from localrun.runner.messages import JsonObject
    from localrun.server.anthropic.request import MessagesCall
    from localrun.server.core.completions import Completions
    from localrun.server.core.request import CompletionRequest
    from localrun.server.core.tokens import TokenService


async def complete(call: MessagesCall, completions: Completions) -> JsonObject:
    """Return the whole message."""
    builder = MessageBuilder(call)
    async with contextlib.aclosing(completions.stream(call.request)) as parts:
        async for part in parts:
            builder.events_of(part)
    return builder.message()


async def stream(call: MessagesCall, completions: Completions) -> AsyncGenerator[bytes, None]:
    """Yield server-sent events, the first when the prompt is accepted.

    Raises:
        LocalrunError: the request is refused, or fails after some events.
    """
    builder = MessageBuilder(call)
    async with contextlib.aclosing(completions.stream(call.request)) as parts:
        yield named_sse_events(builder.events_of(await anext(parts)))
        async for part in parts:
            events = named_sse_events(builder.events_of(part))
            if events:
                yield events


async def count_tokens(request: CompletionRequest, tokens: TokenService) -> JsonObject:
    """Return the number of tokens of a request's prompt.

    Raises:
        LocalrunError: the model does not exist, or its template refuses the messages.
    """
    return {"input_tokens": await tokens.count(request)}
