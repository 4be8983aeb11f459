"""``/v1/completions``: text that goes on, or fills a gap, on the one core request.

``prompt`` is a text, a list of texts, a list of token ids, or a list of such lists; each
of them gets ``n`` answers. With ``suffix`` the answer is what stands between the two.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from localrun.engine.params import MOST_TOP
from localrun.runner.messages import Generation, PromptSpec
from localrun.server.core.choices import choices_of, stream_each
from localrun.server.core.request import CompletionRequest
from localrun.server.openai.completion_builder import TextCompletionBuilder
from localrun.server.openai.fields import (
    NEUTRAL,
    Streaming,
    is_token,
    num_choices,
    num_predict,
    openai_sampling,
    prediction,
    streaming,
)
from localrun.server.parsing import limits
from localrun.server.parsing.constraints import openai_constraint
from localrun.server.parsing.options import (
    MANY,
    keep_alive,
    num_keep,
    overflow,
    refuse_unless_neutral,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from localrun.server.core.completions import Completions
    from localrun.server.core.request import Reply
    from localrun.server.parsing.fields import Fields, JsonObject

MOST_ANSWERS = 512
DEFAULT_TOKENS = 16  # OpenAI's, for a request without max_tokens
Prompt = str | tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionCall:
    """A parsed request: the prompts in order, each as often as it is to be answered."""

    requests: tuple[CompletionRequest, ...]
    streaming: Streaming
    num_choices: int


def parse_completion(fields: Fields) -> CompletionCall:
    """Read the body.

    Raises:
        UsageError: a field is wrong or cannot be honoured; the error names it.
    """
    refuse_unless_neutral(fields, NEUTRAL)
    prompts, count = _prompts(fields), num_choices(fields)
    if len(prompts) * count > MOST_ANSWERS:
        raise fields.wrong("prompt", f"asks for more than {MOST_ANSWERS} answers, with n")
    limits.refuse_many_copies(fields, prompts, count)
    wanted = CompletionRequest(
        model=limits.model_name(fields),
        generation=Generation(
            suffix=fields.text("suffix") or None,
            prediction=prediction(fields),
            constraint=openai_constraint(fields),
            logprobs=_logprobs(fields),
            echo=fields.boolean("echo") or False,
        ),
        sampling=openai_sampling(fields),
        num_predict=num_predict(fields, least=0),
        default_num_predict=DEFAULT_TOKENS,
        num_ctx=limits.context_length(fields),
        stop=limits.stop_strings(fields),
        keep_alive=keep_alive(fields),
        overflow=overflow(fields),
        num_keep=num_keep(fields),
    )
    requests = [one for prompt in prompts for one in choices_of(_to(fields, wanted, prompt), count)]
    return CompletionCall(requests=tuple(requests), streaming=streaming(fields), num_choices=count)


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


def _to(fields: Fields, wanted: CompletionRequest, prompt: Prompt) -> CompletionRequest:
    generation = wanted.generation
    if isinstance(prompt, str):
        return replace(wanted, generation=replace(generation, prompt=PromptSpec(text=prompt)))
    if generation.suffix is not None:
        raise fields.wrong("suffix", "needs a prompt that is a text")
    return replace(wanted, generation=replace(generation, prompt_tokens=prompt))


def _prompts(fields: Fields) -> tuple[Prompt, ...]:
    value = fields.raw("prompt")
    are_tokens = isinstance(value, list) and bool(value) and isinstance(value[0], int)
    listed: list[Any] = value if isinstance(value, list) and not are_tokens else [value]
    prompts = tuple(tuple(one) if isinstance(one, list) else one for one in listed)
    if not prompts or not all(_is_prompt(one) for one in prompts):
        raise fields.wrong("prompt", "must be a text, a list of texts, or token ids")
    if any(len(prompt) > MANY for prompt in prompts if isinstance(prompt, tuple)):
        raise fields.wrong("prompt", f"has more than {MANY} tokens")
    return prompts


def _is_prompt(value: object) -> bool:
    if isinstance(value, tuple):
        return bool(value) and all(map(is_token, value))
    return isinstance(value, str)


def _logprobs(fields: Fields) -> int | None:
    """Return how many likely tokens to tell; here it is a number, not a truth value."""
    count = fields.integer("logprobs", 0)
    if count is not None and count > MOST_TOP:
        raise fields.wrong("logprobs", f"must be at most {MOST_TOP}")
    return count
