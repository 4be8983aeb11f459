"""``/v1/chat/completions``: OpenAI's shapes on the one core request.

A field that is known and cannot be honoured is refused by name; null is the same
as absent; an omitted field never overrides what the model's own defaults say.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from localrun.errors import LocalrunError
from localrun.server.choices import MOST_CHOICES, stream_choices
from localrun.server.constraints import openai_constraint
from localrun.server.conversation import conversation
from localrun.server.core import CompletionRequest
from localrun.server.errors import error_body
from localrun.server.openai.answers import Answers, event_of
from localrun.server.openai.tools import offered_tools
from localrun.server.options import (
    keep_alive,
    logit_bias,
    num_keep,
    num_logprobs,
    overflow,
    refuse_unless_neutral,
    sampling,
)
from localrun.server.thinking import openai_thinking

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from localrun.server.core import Completions, Reply
    from localrun.server.fields import Fields, JsonObject

PATH = "/v1/chat/completions"
DONE = b"data: [DONE]\n\n"
# OpenAI's defaults, at which its own client programs often send these fields
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "modalities": (["text"],),
    "audio": (),
    "prediction": (),
    "functions": ([],),
    "function_call": ("auto", "none"),
    "repetition_penalty": (1,),
}
MOST_STOPS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatCall:
    """A parsed request."""

    request: CompletionRequest
    stream: bool
    include_usage: bool
    num_choices: int = 1


def parse_chat(fields: Fields) -> ChatCall:
    """Read the body.

    Raises:
        UsageError: a field is wrong or cannot be honoured; the error names it.
    """
    refuse_unless_neutral(fields, NEUTRAL)
    model = fields.required_text("model")
    messages = fields.objects("messages")
    if not messages:
        raise fields.wrong("messages", "is required")
    stop = None if fields.raw("stop") is None else fields.strings("stop")
    if stop is not None and len(stop) > MOST_STOPS:
        raise fields.wrong("stop", f"has more than {MOST_STOPS} entries")
    maximum = fields.integer("max_completion_tokens", 1)
    offered, thinking = offered_tools(fields), openai_thinking(fields)
    request = CompletionRequest(
        model=model,
        messages=conversation(messages),
        tools=offered.tools,
        template_options=thinking.options,
        sampling=sampling(fields) | logit_bias(fields),
        num_predict=maximum or fields.integer("max_tokens", 1),
        num_ctx=fields.integer("num_ctx", 1),
        stop=stop,
        constraint=openai_constraint(fields),
        keep_alive=keep_alive(fields),
        overflow=overflow(fields),
        num_keep=num_keep(fields),
        logprobs=num_logprobs(fields),
        tool_choice=offered.choice,
        parallel_tool_calls=fields.boolean("parallel_tool_calls") is not False,
        thinking_budget=thinking.budget,
    )
    return ChatCall(
        request=request,
        stream=fields.boolean("stream") or False,
        include_usage=fields.inner("stream_options").boolean("include_usage") or False,
        num_choices=_num_choices(fields),
    )


async def complete(call: ChatCall, completions: Completions) -> JsonObject:
    """Return the whole answer as one object."""
    answers = Answers(call.request.model, call.num_choices)
    async with _replies(call, completions) as replies:
        async for index, part in replies:
            answers.add(index, part)
    return answers.whole()


async def stream(call: ChatCall, completions: Completions) -> AsyncGenerator[bytes, None]:
    """Yield server-sent events; an error in the middle is an event with ``error``, then the end.

    Raises:
        LocalrunError: the request is refused; nothing was yielded then.
    """
    answers = Answers(call.request.model, call.num_choices)
    async with _replies(call, completions) as replies:
        yield answers.tell(*await anext(replies)) or b""
        try:
            async for index, part in replies:
                event = answers.tell(index, part)
                if event is not None:
                    yield event
        except LocalrunError as error:
            yield event_of(error_body(PATH, error))
        else:
            if call.include_usage:
                yield answers.usage_event()
        yield DONE


def _replies(
    call: ChatCall, completions: Completions
) -> contextlib.aclosing[AsyncGenerator[tuple[int, Reply], None]]:
    return contextlib.aclosing(stream_choices(completions, call.request, call.num_choices))


def _num_choices(fields: Fields) -> int:
    count = fields.integer("n", 1)
    if count is not None and count > MOST_CHOICES:
        raise fields.wrong("n", f"must be at most {MOST_CHOICES}")
    return count or 1
