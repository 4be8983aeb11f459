"""``/v1/messages`` and what belongs to it: Anthropic's shapes on the one core request."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from localrun.server.anthropic.builder import MessageBuilder
from localrun.server.framing import named_sse_events

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from localrun.server.anthropic.request import MessagesCall
    from localrun.server.core.completions import Completions
    from localrun.server.core.request import CompletionRequest
    from localrun.server.openai.tokens import TokenService
    from localrun.server.parsing.fields import JsonObject


async def complete(call: MessagesCall, completions: Completions) -> JsonObject:
    """Return the whole answer as one object."""
    answer = MessageBuilder(call)
    async with contextlib.aclosing(completions.stream(call.request)) as parts:
        async for part in parts:
            answer.tell(part)
    return answer.whole()


async def stream(call: MessagesCall, completions: Completions) -> AsyncGenerator[bytes, None]:
    """Yield server-sent events, the first when the prompt is accepted.

    Raises:
        LocalrunError: the request is refused, or fails after some events.
    """
    answer = MessageBuilder(call)
    async with contextlib.aclosing(completions.stream(call.request)) as parts:
        yield named_sse_events(answer.tell(await anext(parts)))
        async for part in parts:
            events = named_sse_events(answer.tell(part))
            if events:
                yield events


async def count_tokens(request: CompletionRequest, desk: TokenService) -> JsonObject:
    """Return how many tokens the prompt of a request has.

    Raises:
        LocalrunError: there is no such model, or its template refuses the messages.
    """
    return {"input_tokens": await desk.count(request)}
