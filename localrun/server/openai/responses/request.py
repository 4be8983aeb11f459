"""Request body of ``/v1/responses``: its field table, and the core request that it makes.

Fields without effect here are accepted and repeated in the response: ``user``,
``safety_identifier``, ``prompt_cache_key`` (every prompt is cached), ``max_tool_calls``
(of OpenAI's server tools), ``service_tier`` (there is one).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.engine.params import OverflowPolicy
from localrun.runner.messages import Generation, PromptSpec
from localrun.server.core.request import CompletionRequest
from localrun.server.openai import fields as common
from localrun.server.openai.chat_request import IMAGES, PARALLEL_TOOL_CALLS, VERBOSITY
from localrun.server.openai.responses.input_items import (
    INPUT,
    PREVIOUS_RESPONSE_ID,
    read_history,
    resolve_references,
)
from localrun.server.openai.responses.items import conversation, whole_item
from localrun.server.openai.responses.store import kept_items
from localrun.server.openai.responses.tools import TOOLS, ToolSet, read_tools
from localrun.server.parsing.constraints import CONSTRAINTS, TEXT_FORMAT, responses_constraint
from localrun.server.parsing.fields import Fields, brief
from localrun.server.parsing.json_parser import is_larger
from localrun.server.parsing.json_schema import TEXT, listed, mapped, one_of
from localrun.server.parsing.limits import MAX_MESSAGES
from localrun.server.parsing.options import (
    DRAFT,
    KEEP_ALIVE,
    MODEL,
    NUM_CTX,
    NUM_KEEP,
    OVERFLOW,
    STOP,
    TOP_LOGPROBS,
)
from localrun.server.parsing.table import Field, Table, choice, flag, group, integer, neutral, text
from localrun.server.parsing.thinking import (
    REASONING,
    REASONING_TABLE,
    SWITCHES,
    openai_thinking,
)

if TYPE_CHECKING:
    from localrun.runner.messages import JsonObject
    from localrun.server.openai.responses.store import KeptItem, ResponseStore
    from localrun.server.parsing.table import Values

LOGPROBS, SEALED_THOUGHTS = "message.output_text.logprobs", "reasoning.encrypted_content"
# the others are details of images and of OpenAI's own tools
INCLUDED = (
    LOGPROBS,
    SEALED_THOUGHTS,
    "message.input_image.image_url",
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
)
SUMMARIES = ("auto", "concise", "detailed")
TRUNCATIONS = {"auto": OverflowPolicy(drops=True), "disabled": OverflowPolicy()}
MAX_METADATA = 16
MAX_REPEATED = 4 * 1024 * 1024  # characters: three events of each stream have them


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponsesCall:
    """A parsed request."""

    request: CompletionRequest
    input: tuple[KeptItem, ...]  # without the items of earlier responses
    tools: ToolSet
    stream: bool
    stores: bool
    background: bool
    summarizes: bool  # thoughts are reported as summaries
    seals: bool  # thoughts are sent to the client as encrypted_content
    repeated: JsonObject  # fields of the request that the response repeats

    @property
    def num_bytes(self) -> int:
        """Return the approximate memory that the input takes."""
        return sum(item.num_bytes for item in self.input)


def parse_call(fields: Fields, store: ResponseStore) -> ResponsesCall:
    """Parse a body, which may continue a response of the store.

    Raises:
        UsageError: a field is wrong or cannot be honoured; the error names it.
    """
    values = RESPONSE.read(fields)
    stores, background = values[_STORE] is not False, values[_BACKGROUND] or False
    stream = common.streaming(values).is_wanted
    if background and (stream or not stores):
        raise fields.wrong("background", "needs store to be true and stream to be false")
    tools, items = read_tools(values), resolve_references(values[INPUT], store)
    earlier = read_history(values, store)
    if len(earlier) + len(items) > MAX_MESSAGES:
        raise fields.wrong(
            "input", f"and the earlier responses have more than {MAX_MESSAGES} items"
        )
    messages = conversation(values[_INSTRUCTIONS], [*earlier, *items])
    if not messages:
        raise fields.wrong("input", "is required")
    return ResponsesCall(
        request=_request(values, messages, tools),
        input=kept_items(map(whole_item, items)),
        tools=tools,
        stream=stream,
        stores=stores,
        background=background,
        summarizes=_summary(values) is not None,
        seals=SEALED_THOUGHTS in values[_INCLUDE],
        repeated=_repeated(values, tools, stores=stores, background=background),
    )


def parse_for_count(fields: Fields, store: ResponseStore) -> CompletionRequest:
    """Parse the body of ``/v1/responses/input_tokens``.

    Raises:
        UsageError: a field is wrong or cannot be honoured; the error names it.
    """
    return parse_call(fields, store).request


def _request(values: Values, messages: tuple[JsonObject, ...], tools: ToolSet) -> CompletionRequest:
    thinking, text = openai_thinking(values), values[_TEXT]
    prompt = PromptSpec(
        messages=messages,
        tools=tools.functions,
        template_options=text.given((VERBOSITY,)) | thinking.options,
    )
    generation = Generation(
        prompt=prompt,
        constraint=responses_constraint(values, text),
        tool_choice=tools.choice,
        parallel_tool_calls=values[PARALLEL_TOOL_CALLS] is not False,
        thinking_budget=thinking.budget,
        logprobs=_num_logprobs(values),
        is_streamed=common.streaming(values).is_wanted,
    )
    return CompletionRequest(
        model=values[MODEL],
        generation=generation,
        sampling=common.openai_sampling(values),
        num_predict=values[_MAX_OUTPUT_TOKENS],
        num_ctx=values[NUM_CTX],
        draft=values[DRAFT] or None,
        stop=values[STOP],
        keep_alive=values[KEEP_ALIVE],
        overflow=values[OVERFLOW] or values[_TRUNCATION],
        num_keep=values[NUM_KEEP],
    )


def _included(fields: Fields, name: str) -> tuple[str, ...]:
    included = fields.strings(name)
    for word in included:
        if word not in INCLUDED:
            raise fields.wrong(
                name, f"must be a list of values from {', '.join(INCLUDED)}, not {brief(word)}"
            )
    return included


def _num_logprobs(values: Values) -> int | None:
    count = values[TOP_LOGPROBS]
    return (count or 0) if count or LOGPROBS in values[_INCLUDE] else None


def _summary(values: Values) -> str | None:
    """Return the kind of summary of thoughts, under its current or its first name."""
    reasoning = values[REASONING]
    summary = reasoning[_SUMMARY] or reasoning[_GENERATE_SUMMARY]
    if summary not in (None, *SUMMARIES):
        raise reasoning.fields.wrong("summary", f"must be one of {', '.join(SUMMARIES)}")
    return summary


def _truncation(fields: Fields, name: str) -> OverflowPolicy | None:
    policy = _TRUNCATION_NAME.read(fields, name)
    return TRUNCATIONS[policy] if policy else None


def _repeated(values: Values, tools: ToolSet, *, stores: bool, background: bool) -> JsonObject:
    fields, reasoning = values.fields, values[REASONING]
    repeated = {
        **{row.name: values[row] for row in _REPEATED},
        "max_output_tokens": values[_MAX_OUTPUT_TOKENS],
        "max_tool_calls": values[_MAX_TOOL_CALLS],
        "metadata": values[_METADATA],
        "model": values[MODEL],
        "parallel_tool_calls": values[PARALLEL_TOOL_CALLS] is not False,
        "reasoning": {"effort": reasoning.fields.text("effort"), "summary": _summary(values)},
        "store": stores,
        "background": background,
        "service_tier": "default",
        "text": _text_config(values[_TEXT]),
        "tool_choice": fields.raw("tool_choice") or "auto",
        "tools": list(tools.reported),
        "top_logprobs": values[TOP_LOGPROBS] or 0,
        "truncation": fields.text("truncation") or "disabled",
        "user": values[_USER],
    }
    if is_larger(repeated, MAX_REPEATED):
        raise fields.wrong("instructions", f"and tools have more than {MAX_REPEATED} characters")
    return repeated


def _metadata(fields: Fields, name: str) -> JsonObject:
    metadata = fields.inner(name).all()
    if len(metadata) > MAX_METADATA or not all(isinstance(v, str) for v in metadata.values()):
        raise fields.wrong(name, f"must have at most {MAX_METADATA} values, all of them strings")
    return metadata


def _text_config(text: Values) -> JsonObject:
    form = text.fields.inner("format").all()
    form["type"] = form.get("type") or "text"
    if form["type"] == "json_schema":
        form = {"name": "", "description": None, "strict": False, **form}
    return {"format": form, "verbosity": text[VERBOSITY] or "medium"}


NEUTRAL = (
    neutral("conversation"),
    neutral("prompt"),
    neutral("context_management", ([],)),
    neutral("moderation"),
    neutral("modalities", (["text"],)),
    neutral("n", (1,)),
    *common.NEUTRAL,
)
_STORE, _BACKGROUND = flag("store"), flag("background")
_INCLUDE = Field("include", _included, listed(one_of(*INCLUDED)))
_INSTRUCTIONS = text("instructions")
_REPEATED = (
    _INSTRUCTIONS,
    text("prompt_cache_key"),
    text("safety_identifier"),
    PREVIOUS_RESPONSE_ID,
)
_USER = text("user")
_TEXT = group("text", Table((TEXT_FORMAT, VERBOSITY)))
_MAX_OUTPUT_TOKENS, _MAX_TOOL_CALLS = integer("max_output_tokens", 1), integer("max_tool_calls", 0)
_METADATA = Field("metadata", _metadata, mapped(TEXT))
# Of the two names the first is used and the second is not checked: the reader accepts any text.
_SUMMARY = Field("summary", Fields.text, one_of(*SUMMARIES))
_GENERATE_SUMMARY = Field("generate_summary", Fields.text, one_of(*SUMMARIES))
_REASONING = group("reasoning", Table((*REASONING_TABLE.rows, _SUMMARY, _GENERATE_SUMMARY)))
_TRUNCATION_NAME = choice("truncation", TRUNCATIONS)
_TRUNCATION = Field("truncation", _truncation, _TRUNCATION_NAME.schema)
RESPONSE = Table(
    (
        *NEUTRAL,
        _STORE,
        _BACKGROUND,
        *common.STREAMING,
        IMAGES,
        INPUT,
        _INCLUDE,
        *TOOLS.rows,
        PARALLEL_TOOL_CALLS,
        *_REPEATED,
        _REASONING,
        *SWITCHES,
        MODEL,
        _TEXT,
        *common.SAMPLING,
        *common.LENGTHS_FROM_ZERO,
        _MAX_OUTPUT_TOKENS,
        _MAX_TOOL_CALLS,
        NUM_CTX,
        DRAFT,
        STOP,
        *CONSTRAINTS.rows,
        KEEP_ALIVE,
        OVERFLOW,
        _TRUNCATION,
        NUM_KEEP,
        TOP_LOGPROBS,
        _METADATA,
        _USER,
    ),
    component="ResponsesRequest",
)
