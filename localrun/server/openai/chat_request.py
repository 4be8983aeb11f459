"""Request body of ``/v1/chat/completions``: its field table, and the core request that it makes.

A known field that cannot be honoured is refused by name; null is the same as absent; an omitted
field never overrides the model's own defaults.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.runner.messages import Generation, PromptSpec
from localrun.server.core.request import CompletionRequest
from localrun.server.openai import fields as common
from localrun.server.openai.legacy import LEGACY_TOOLS, with_tools
from localrun.server.openai.tools import TOOLS, offered_tools
from localrun.server.parsing import limits
from localrun.server.parsing.constraints import CONSTRAINTS, openai_constraint
from localrun.server.parsing.conversation import (
    SOME_MESSAGES_SCHEMA,
    conversation,
    message_list,
)
from localrun.server.parsing.media import NO_IMAGES, refuse_images
from localrun.server.parsing.options import (
    DRAFT,
    KEEP_ALIVE,
    LOGPROBS,
    MODEL,
    NUM_CTX,
    NUM_KEEP,
    OVERFLOW,
    STOP,
    TOP_LOGPROBS,
    num_logprobs,
)
from localrun.server.parsing.prompt_end import PROMPT_END, prompt_end
from localrun.server.parsing.table import Field, Table, choice, flag, neutral, text
from localrun.server.parsing.thinking import REASONING_FORMAT, THINKING, openai_thinking

if TYPE_CHECKING:
    from localrun.runner.messages import JsonObject
    from localrun.server.parsing.fields import Fields


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatCall:
    """A parsed request."""

    request: CompletionRequest
    stream: bool
    include_usage: bool
    num_choices: int = 1
    is_legacy: bool = False  # the answer has function_call in place of tool_calls


def chat_messages(fields: Fields, name: str) -> tuple[JsonObject, ...]:
    """Return the messages of a request that has some.

    Raises:
        UsageError: a message is malformed, or has content that is not text.
    """
    messages = message_list(fields, name)
    if not messages:
        raise fields.wrong(name, "is required")
    return conversation(messages)


# unsupported fields with OpenAI's defaults, which its own client programs send
NEUTRAL = (
    neutral("modalities", (["text"],)),
    neutral("audio"),
    neutral("web_search_options"),
    *common.NEUTRAL,
)
MESSAGES = Field("messages", chat_messages, SOME_MESSAGES_SCHEMA, is_required=True)
IMAGES = Field("images", lambda fields, _: refuse_images(fields), NO_IMAGES.schema)
VERBOSITY = choice("verbosity", ("low", "medium", "high"))  # for the templates that know it
CHAT_TEMPLATE = text("chat_template", longest=limits.LONGEST_TEMPLATE)
PARALLEL_TOOL_CALLS = flag("parallel_tool_calls")
CHAT = Table(
    (
        *NEUTRAL,
        MODEL,
        MESSAGES,
        IMAGES,
        *PROMPT_END.rows,
        *TOOLS.rows,
        PARALLEL_TOOL_CALLS,
        *LEGACY_TOOLS,
        *THINKING.rows,
        REASONING_FORMAT,
        VERBOSITY,
        *common.SAMPLING,
        *common.LENGTHS,
        NUM_CTX,
        DRAFT,
        STOP,
        *CONSTRAINTS.rows,
        KEEP_ALIVE,
        OVERFLOW,
        NUM_KEEP,
        LOGPROBS,
        TOP_LOGPROBS,
        CHAT_TEMPLATE,
        common.PREDICTION,
        *common.STREAMING,
        *common.CHOICES,
    ),
    component="ChatRequest",
)


def parse_chat(fields: Fields) -> ChatCall:
    """Parse the body.

    Raises:
        UsageError: a field is wrong or cannot be honoured; the error names it.
    """
    fields, is_legacy = with_tools(fields)
    values = CHAT.read(fields)
    messages, offered, thinking = values[MESSAGES], offered_tools(values), openai_thinking(values)
    end, verbosity = prompt_end(values, messages), values.given((VERBOSITY,))
    streaming = common.streaming(values)
    prompt = PromptSpec(
        messages=messages,
        tools=offered.tools,
        template_options=verbosity | thinking.options,
        chat_template=values[CHAT_TEMPLATE] or None,
        add_generation_prompt=end.add_generation_prompt,
        continue_final_message=end.continue_final_message,
    )
    generation = Generation(
        prompt=prompt,
        prediction=values[common.PREDICTION],
        constraint=openai_constraint(values),
        tool_choice=offered.choice,
        parallel_tool_calls=values[PARALLEL_TOOL_CALLS] is not False,
        thinking_budget=thinking.budget,
        logprobs=num_logprobs(values),
        is_streamed=streaming.is_wanted,
    )
    request = CompletionRequest(
        model=values[MODEL],
        generation=generation,
        sampling=common.openai_sampling(values),
        num_predict=common.num_predict(values),
        num_ctx=values[NUM_CTX],
        draft=values[DRAFT] or None,
        stop=values[STOP],
        keep_alive=values[KEEP_ALIVE],
        overflow=values[OVERFLOW],
        num_keep=values[NUM_KEEP],
        keeps_thoughts=values[REASONING_FORMAT] == "none",
    )
    count = common.num_choices(values)
    limits.refuse_many_copies(fields, [prompt.messages, prompt.tools], count)
    return ChatCall(
        request=request,
        stream=streaming.is_wanted,
        include_usage=streaming.include_usage,
        num_choices=count,
        is_legacy=is_legacy,
    )
