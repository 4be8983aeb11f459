"""``/v1/chat/completions``: OpenAI's shapes on the one core request.

A field that is known and cannot be honoured is refused by name; null is the same
as absent; an omitted field never overrides what the model's own defaults say.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from localrun.runner.messages import Generation, PromptSpec
from localrun.server.core.choices import stream_choices
from localrun.server.core.request import CompletionRequest
from localrun.server.openai import fields as common
from localrun.server.openai.chat_builder import ChatCompletionBuilder
from localrun.server.openai.legacy import in_new_words
from localrun.server.openai.tools import offered_tools
from localrun.server.parsing import limits
from localrun.server.parsing.constraints import openai_constraint
from localrun.server.parsing.conversation import conversation
from localrun.server.parsing.media import refuse_media
from localrun.server.parsing.options import (
    keep_alive,
    num_keep,
    num_logprobs,
    overflow,
    refuse_unless_neutral,
)
from localrun.server.parsing.prompt_end import prompt_end
from localrun.server.parsing.thinking import keeps_thoughts, openai_thinking

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from localrun.server.core.completions import Completions
    from localrun.server.core.request import Reply
    from localrun.server.parsing.fields import Fields, JsonObject

# OpenAI's defaults, at which its own client programs often send these fields
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "modalities": (["text"],),
    "audio": (),
    "web_search_options": (),
    **common.NEUTRAL,
}
VERBOSITIES = ("low", "medium", "high")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatCall:
    """A parsed request."""

    request: CompletionRequest
    stream: bool
    include_usage: bool
    num_choices: int = 1
    is_legacy: bool = False  # asks for functions, and wants no tool calls


def parse_chat(fields: Fields) -> ChatCall:
    """Read the body.

    Raises:
        UsageError: a field is wrong or cannot be honoured; the error names it.
    """
    fields, is_legacy = in_new_words(fields)
    refuse_unless_neutral(fields, NEUTRAL)
    model, messages = limits.model_name(fields), limits.messages(fields)
    if not messages:
        raise fields.wrong("messages", "is required")
    refuse_media(fields, "messages")
    chat = conversation(messages)
    end = prompt_end(fields, chat)
    offered, thinking = offered_tools(fields), openai_thinking(fields)
    prompt = PromptSpec(
        messages=chat,
        tools=offered.tools,
        template_options=verbosity(fields) | thinking.options,
        chat_template=fields.text("chat_template", longest=limits.LONGEST_TEMPLATE) or None,
        add_generation_prompt=end.add_generation_prompt,
        continue_final_message=end.continue_final_message,
    )
    generation = Generation(
        prompt=prompt,
        prediction=common.prediction(fields),
        constraint=openai_constraint(fields),
        tool_choice=offered.choice,
        parallel_tool_calls=fields.boolean("parallel_tool_calls") is not False,
        thinking_budget=thinking.budget,
        logprobs=num_logprobs(fields),
    )
    request = CompletionRequest(
        model=model,
        generation=generation,
        sampling=common.openai_sampling(fields),
        num_predict=common.num_predict(fields),
        num_ctx=limits.context_length(fields),
        stop=limits.stop_strings(fields),
        keep_alive=keep_alive(fields),
        overflow=overflow(fields),
        num_keep=num_keep(fields),
        keeps_thoughts=keeps_thoughts(fields),
    )
    streaming, count = common.streaming(fields), common.num_choices(fields)
    limits.refuse_many_copies(fields, [prompt.messages, prompt.tools], count)
    return ChatCall(
        request=request,
        stream=streaming.is_wanted,
        include_usage=streaming.include_usage,
        num_choices=count,
        is_legacy=is_legacy,
    )


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


def verbosity(fields: Fields) -> JsonObject:
    """Return what templates that know it are told of how long an answer is to be."""
    verbosity = fields.text("verbosity")
    if verbosity is None:
        return {}
    if verbosity not in VERBOSITIES:
        raise fields.wrong("verbosity", f"must be one of {', '.join(VERBOSITIES)}")
    return {"verbosity": verbosity}
