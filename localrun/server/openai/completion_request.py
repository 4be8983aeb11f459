"""Request body of ``/v1/completions``: its field table, and the core requests that it makes.

``prompt`` is a text, a list of texts, a list of token ids, a list of such lists, or llama-server's
objects of a text and media; each prompt gets ``n`` answers. With ``suffix`` the answer fills the
gap between prompt and suffix.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from localrun.engine.params import MAX_TOP_LOGPROBS
from localrun.runner.messages import Generation, PromptSpec
from localrun.server.core.choices import choices_of
from localrun.server.core.request import CompletionRequest
from localrun.server.openai import fields as common
from localrun.server.parsing.constraints import CONSTRAINTS, openai_constraint
from localrun.server.parsing.fields import Fields
from localrun.server.parsing.json_schema import TEXT, TOKEN, either, is_token, listed, request
from localrun.server.parsing.limits import refuse_many_copies
from localrun.server.parsing.media import MAX_MEDIA, raw_media
from localrun.server.parsing.options import (
    DRAFT,
    KEEP_ALIVE,
    MANY,
    MODEL,
    NUM_CTX,
    NUM_KEEP,
    OVERFLOW,
    STOP,
)
from localrun.server.parsing.table import Field, Table, flag, integer, text

if TYPE_CHECKING:
    from localrun.server.openai.fields import Streaming

MAX_ANSWERS = 512
DEFAULT_TOKENS = 16  # OpenAI's, for a request without max_tokens
MEMBERS = {"prompt_string", "multimodal_data"}  # of llama-server's prompt with media
Prompt = str | tuple[int, ...] | PromptSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionCall:
    """A parsed request: the prompts in order, each repeated ``num_choices`` times."""

    requests: tuple[CompletionRequest, ...]
    streaming: Streaming
    num_choices: int


def parse_completion(fields: Fields) -> CompletionCall:
    """Parse the body.

    Raises:
        UsageError: a field is wrong or cannot be honoured; the error names it.
    """
    values = COMPLETION.read(fields)
    prompts, count = values[_PROMPT], common.num_choices(values)
    if len(prompts) * count > MAX_ANSWERS:
        raise fields.wrong("prompt", f"and n make more than {MAX_ANSWERS} choices")
    sized = [(each.text, each.media) if isinstance(each, PromptSpec) else each for each in prompts]
    refuse_many_copies(fields, sized, count)
    streaming = common.streaming(values)
    request = CompletionRequest(
        model=values[MODEL],
        generation=Generation(
            suffix=values[_SUFFIX] or None,
            prediction=values[common.PREDICTION],
            constraint=openai_constraint(values),
            logprobs=values[_LOGPROBS],
            echo=values[_ECHO] or False,
            is_streamed=streaming.is_wanted,
        ),
        sampling=common.openai_sampling(values),
        num_predict=common.num_predict(values),
        default_num_predict=DEFAULT_TOKENS,
        num_ctx=values[NUM_CTX],
        draft=values[DRAFT] or None,
        stop=values[STOP],
        keep_alive=values[KEEP_ALIVE],
        overflow=values[OVERFLOW],
        num_keep=values[NUM_KEEP],
    )
    requests = [
        choice
        for prompt in prompts
        for choice in choices_of(_with_prompt(fields, request, prompt), count, len(prompts))
    ]
    return CompletionCall(requests=tuple(requests), streaming=streaming, num_choices=count)


def _with_prompt(fields: Fields, request: CompletionRequest, prompt: Prompt) -> CompletionRequest:
    generation = request.generation
    if isinstance(prompt, str):
        return replace(request, generation=replace(generation, prompt=PromptSpec(text=prompt)))
    if isinstance(prompt, PromptSpec) and generation.suffix is None:
        return replace(request, generation=replace(generation, prompt=prompt))
    if isinstance(prompt, PromptSpec) or generation.suffix is not None:
        raise fields.wrong("suffix", "needs a prompt that is a text")
    return replace(request, generation=replace(generation, prompt_tokens=prompt))


def _prompts(fields: Fields, name: str) -> tuple[Prompt, ...]:
    value = fields.raw(name)
    are_tokens = isinstance(value, list) and bool(value) and isinstance(value[0], int)
    listed: list[Any] = value if isinstance(value, list) and not are_tokens else [value]
    prompts = tuple(
        tuple(prompt)
        if isinstance(prompt, list)
        else _with_media(fields, name, prompt)
        if isinstance(prompt, dict) and prompt.keys() & MEMBERS
        else prompt
        for prompt in listed
    )
    if not prompts or not all(map(_is_prompt, prompts)):
        raise fields.wrong(
            name,
            "must be a text, a list of texts, token ids, or a prompt_string with multimodal_data",
        )
    if any(len(prompt) > MANY for prompt in prompts if isinstance(prompt, tuple)):
        raise fields.wrong(name, f"has more than {MANY} tokens")
    return prompts


def _is_prompt(value: object) -> bool:
    if isinstance(value, tuple):
        return bool(value) and all(map(is_token, value))
    return isinstance(value, str | PromptSpec)


def _with_media(fields: Fields, name: str, prompt: dict[str, Any]) -> PromptSpec:
    text, media = raw_media(Fields(prompt, f"{fields.path(name)}."))
    return PromptSpec(text=text, media=media)


_MEDIA = request(
    {"prompt_string": TEXT}, {"multimodal_data": either(TEXT, listed(TEXT, maxItems=MAX_MEDIA))}
)
_TOKENS = listed(TOKEN, minItems=1)
_PROMPT = Field(
    "prompt",
    _prompts,
    either(TEXT, _TOKENS, _MEDIA, listed(either(TEXT, _TOKENS, _MEDIA), minItems=1)),
    is_required=True,
)
_LOGPROBS = integer("logprobs", 0, MAX_TOP_LOGPROBS)  # a number here, a boolean in chats
_ECHO, _SUFFIX = flag("echo"), text("suffix")
COMPLETION = Table(
    (
        *common.NEUTRAL,
        _PROMPT,
        *common.CHOICES,
        MODEL,
        *common.SAMPLING,
        *common.LENGTHS_FROM_ZERO,
        NUM_CTX,
        DRAFT,
        STOP,
        *CONSTRAINTS.rows,
        KEEP_ALIVE,
        OVERFLOW,
        NUM_KEEP,
        _LOGPROBS,
        _ECHO,
        _SUFFIX,
        common.PREDICTION,
        *common.STREAMING,
    ),
    component="CompletionRequest",
)
