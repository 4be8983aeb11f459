"""``/v1/completions``: the answer to a parsed request, whole or as server-sent events."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from localrun.server.core.choices import stream_each
from localrun.server.openai.completion_builder import TextCompletionBuilder

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from localrun.server.core.completions import Completions
    from localrun.server.core.request import Reply
    from localrun.server.openai.completion_request import CompletionCall
    from localrun.server.parsing.fields import JsonObject


async def complete(call: CompletionCall, completions: Completions) -> JsonObject:
    """Return all answers as one object."""
    answers = _answers(call)
    async with _replies(call, completions) as replies:
        async for place, part in replies:
            answers.add(place, part)
    return answers.whole()


async def stream(call: CompletionCall, completions: Completions) -> AsyncGenerator[bytes, None]:
    """Yield server-sent events, the first when the prompt is accepted.

    Raises:
        LocalrunError: the request is refused, or fails after some events.
    """
    answers = _answers(call)
    async with _replies(call, completions) as replies:
        yield answers.tell(*await anext(replies)) or b""
        async for place, part in replies:
            event = answers.tell(place, part)
            if event is not None:
                yield event
        if call.streaming.include_usage:
            yield answers.usage_event()


def _answers(call: CompletionCall) -> TextCompletionBuilder:
    return TextCompletionBuilder(call.requests[0].model, len(call.requests), call.num_choices)


def _replies(
    call: CompletionCall, completions: Completions
) -> contextlib.aclosing[AsyncGenerator[tuple[int, Reply], None]]:
    return contextlib.aclosing(stream_each(completions, call.requests))
