"""``/v1/messages`` and what belongs to it: Anthropic's shapes on the one core request."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

from localrun.errors import LocalrunError
from localrun.server.anthropic.builder import MessageBuilder
from localrun.server.anthropic.dialect import error_event

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable

    from localrun.server.anthropic.dialect import Scope
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


async def stream(
    call: MessagesCall, completions: Completions, scope: Scope
) -> AsyncGenerator[bytes, None]:
    """Yield server-sent events; an error in the middle is the last one.

    Raises:
        LocalrunError: the request is refused; nothing was yielded then.
    """
    answer = MessageBuilder(call)
    async with contextlib.aclosing(completions.stream(call.request)) as parts:
        yield _encoded(answer.tell(await anext(parts)))
        try:
            async for part in parts:
                events = _encoded(answer.tell(part))
                if events:
                    yield events
        except LocalrunError as error:
            yield _encoded([error_event(scope, error)])


async def count_tokens(request: CompletionRequest, desk: TokenService) -> JsonObject:
    """Return how many tokens the prompt of a request has.

    Raises:
        LocalrunError: there is no such model, or its template refuses the messages.
    """
    return {"input_tokens": await desk.count(request)}


def _encoded(events: Iterable[JsonObject]) -> bytes:
    return b"".join(
        f"event: {event['type']}\ndata: {json.dumps(event, ensure_ascii=False)}\n\n".encode()
        for event in events
    )
