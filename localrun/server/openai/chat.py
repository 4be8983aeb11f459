"""``/v1/chat/completions``: the answer to a parsed request, whole or as server-sent events."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from localrun.server.core.choices import stream_choices
from localrun.server.openai.chat_builder import ChatCompletionBuilder

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from localrun.server.core.completions import Completions
    from localrun.server.core.request import Reply
    from localrun.server.openai.chat_request import ChatCall
    from localrun.server.parsing.fields import JsonObject


async def complete(call: ChatCall, completions: Completions) -> JsonObject:
    """Return the whole answer as one object."""
    answers = ChatCompletionBuilder(call.request.model, call.num_choices, is_legacy=call.is_legacy)
    async with _replies(call, completions) as replies:
        async for index, part in replies:
            answers.add(index, part)
    return answers.whole()


async def stream(call: ChatCall, completions: Completions) -> AsyncGenerator[bytes, None]:
    """Yield server-sent events, the first when the prompt is accepted.

    Raises:
        LocalrunError: the request is refused, or fails after some events.
    """
    answers = ChatCompletionBuilder(call.request.model, call.num_choices, is_legacy=call.is_legacy)
    async with _replies(call, completions) as replies:
        yield answers.tell(*await anext(replies)) or b""
        async for index, part in replies:
            event = answers.tell(index, part)
            if event is not None:
                yield event
        if call.include_usage:
            yield answers.usage_event()


def _replies(
    call: ChatCall, completions: Completions
) -> contextlib.aclosing[AsyncGenerator[tuple[int, Reply], None]]:
    return contextlib.aclosing(stream_choices(completions, call.request, call.num_choices))
