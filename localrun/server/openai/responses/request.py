"""The body of ``/v1/responses`` as the one core request.

Fields that change nothing here pass and are repeated in the response: ``user``,
``safety_identifier``, ``prompt_cache_key`` (every prompt is cached), ``max_tool_calls``
(of tools that OpenAI's servers run), ``service_tier`` (there is one).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from localrun.engine.params import MOST_TOP, OverflowPolicy
from localrun.errors import NotFoundError
from localrun.runner.messages import Generation, PromptSpec
from localrun.server.core.request import CompletionRequest
from localrun.server.middleware.bodies import MOST_BODY_BYTES
from localrun.server.openai import fields as common
from localrun.server.openai.chat import verbosity
from localrun.server.openai.responses.items import conversation, kind_of, whole_item
from localrun.server.openai.responses.store import kept_items
from localrun.server.openai.responses.tools import ToolSet, read_tools
from localrun.server.parsing import limits
from localrun.server.parsing.constraints import responses_constraint
from localrun.server.parsing.fields import Fields, brief, shown
from localrun.server.parsing.json_parser import is_larger
from localrun.server.parsing.limits import MOST_MESSAGES
from localrun.server.parsing.media import refuse_media
from localrun.server.parsing.options import keep_alive, num_keep, overflow, refuse_unless_neutral
from localrun.server.parsing.thinking import openai_thinking

if TYPE_CHECKING:
    from localrun.server.openai.responses.store import KeptItem, ResponseStore
    from localrun.server.parsing.fields import JsonObject

NEUTRAL: dict[str, tuple[Any, ...]] = {
    "conversation": (),
    "prompt": (),
    "context_management": ([],),
    "moderation": (),
    "modalities": (["text"],),
    "n": (1,),
    **common.NEUTRAL,
}
LOGPROBS, SEALED_THOUGHTS = "message.output_text.logprobs", "reasoning.encrypted_content"
# the others tell more of what only OpenAI's own tools, and images, leave behind
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
REPEATED = ("instructions", "prompt_cache_key", "safety_identifier", "previous_response_id")
MOST_METADATA = 16
MOST_REPEATED = 4 * 1024 * 1024  # characters: three events of each stream have them


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponsesCall:
    """A parsed request."""

    request: CompletionRequest
    input: tuple[KeptItem, ...]  # without those of earlier responses
    tools: ToolSet
    stream: bool
    stores: bool
    background: bool
    summarizes: bool  # thoughts are told as their summaries
    seals: bool  # thoughts are given to the client to keep
    repeated: JsonObject  # what the response says of its request

    @property
    def num_bytes(self) -> int:
        """Return about how much memory the input takes."""
        return sum(item.num_bytes for item in self.input)


def parse_call(fields: Fields, store: ResponseStore) -> ResponsesCall:
    """Read a body, which may go on from what is in the store.

    Raises:
        UsageError: a field is wrong or cannot be honoured; the error names it.
    """
    refuse_unless_neutral(fields, NEUTRAL)
    stores, background = fields.boolean("store") is not False, fields.boolean("background") or False
    stream = common.streaming(fields).is_wanted
    if background and (stream or not stores):
        raise fields.wrong("background", "needs store to be true and stream to be false")
    refuse_media(fields, "input")
    included, tools = _included(fields), read_tools(fields)
    given, earlier = _resolved(_input(fields), store), _history(fields, store)
    if len(earlier) + len(given) > MOST_MESSAGES:
        raise fields.wrong("input", f"makes a conversation of more than {MOST_MESSAGES} items")
    messages = conversation(fields.text("instructions"), [*earlier, *given])
    if not messages:
        raise fields.wrong("input", "is required")
    return ResponsesCall(
        request=_request(fields, messages, tools, included),
        input=kept_items(map(whole_item, given)),
        tools=tools,
        stream=stream,
        stores=stores,
        background=background,
        summarizes=_summary(fields) is not None,
        seals=SEALED_THOUGHTS in included,
        repeated=_repeated(fields, tools, stores=stores, background=background),
    )


def parse_for_count(fields: Fields, store: ResponseStore) -> CompletionRequest:
    """Read the body of ``/v1/responses/input_tokens``.

    Raises:
        UsageError: a field is wrong or cannot be honoured; the error names it.
    """
    return parse_call(fields, store).request


def _request(
    fields: Fields, messages: tuple[JsonObject, ...], tools: ToolSet, included: tuple[str, ...]
) -> CompletionRequest:
    thinking = openai_thinking(fields)
    prompt = PromptSpec(
        messages=messages,
        tools=tools.functions,
        template_options=verbosity(fields.inner("text")) | thinking.options,
    )
    generation = Generation(
        prompt=prompt,
        constraint=responses_constraint(fields),
        tool_choice=tools.choice,
        parallel_tool_calls=fields.boolean("parallel_tool_calls") is not False,
        thinking_budget=thinking.budget,
        logprobs=_num_logprobs(fields, included),
    )
    return CompletionRequest(
        model=limits.model_name(fields),
        generation=generation,
        sampling=common.openai_sampling(fields),
        num_predict=fields.integer("max_output_tokens", 1),
        num_ctx=limits.context_length(fields),
        stop=limits.stop_strings(fields),
        keep_alive=keep_alive(fields),
        overflow=overflow(fields) or _truncation(fields),
        num_keep=num_keep(fields),
    )


def _input(fields: Fields) -> list[Fields]:
    """Return the items of the input; a text is the user's message."""
    value = fields.raw("input")
    if isinstance(value, str):
        return [Fields({"role": "user", "content": value}, "input.")]
    if value is not None and not isinstance(value, list):
        raise fields.wrong("input", "must be a string or a list of items")
    return [
        Fields(item, f"input[{place}].")
        for place, item in enumerate(fields.objects("input", most=MOST_MESSAGES))
    ]


def _history(fields: Fields, store: ResponseStore) -> list[Fields]:
    """Return the items of the responses that this one follows."""
    previous = fields.text("previous_response_id")
    try:
        history = store.history(previous) if previous else []
    except NotFoundError as error:
        raise fields.wrong("previous_response_id", f"cannot be followed: {error}") from error
    return [Fields(item, "previous_response_id: ") for item in history]


def _resolved(items: list[Fields], store: ResponseStore) -> list[Fields]:
    """Return the items, in place of references those that they mean."""
    resolved, num_bytes = [], 0
    for item in items:
        if kind_of(item) != "item_reference":
            resolved.append(item)
            continue
        found = _referred(item, store)
        num_bytes += found.num_bytes
        if num_bytes > MOST_BODY_BYTES:
            raise item.wrong("id", "makes the request larger than a body may be")
        resolved.append(Fields(json.loads(found.text), item.path("")))
    return resolved


def _referred(item: Fields, store: ResponseStore) -> KeptItem:
    number = item.required_text("id")
    found = store.item(number)
    if found is None:
        raise item.wrong("id", f"names no item that is kept here: {shown(number)}")
    return found


def _included(fields: Fields) -> tuple[str, ...]:
    included = fields.strings("include")
    for one in included:
        if one not in INCLUDED:
            raise fields.wrong(
                "include", f"must hold some of {', '.join(INCLUDED)}, not {brief(one)}"
            )
    return included


def _num_logprobs(fields: Fields, included: tuple[str, ...]) -> int | None:
    count = fields.integer("top_logprobs", 0)
    if count is not None and count > MOST_TOP:
        raise fields.wrong("top_logprobs", f"must be at most {MOST_TOP}")
    return (count or 0) if count or LOGPROBS in included else None


def _summary(fields: Fields) -> str | None:
    """Return how thoughts are to be summarized, under its name of today or its first."""
    reasoning = fields.inner("reasoning")
    summary = reasoning.text("summary") or reasoning.text("generate_summary")
    if summary not in (None, *SUMMARIES):
        raise reasoning.wrong("summary", f"must be one of {', '.join(SUMMARIES)}")
    return summary


def _truncation(fields: Fields) -> OverflowPolicy | None:
    name = fields.text("truncation")
    if name not in (None, *TRUNCATIONS):
        raise fields.wrong("truncation", f"must be one of {', '.join(TRUNCATIONS)}")
    return TRUNCATIONS[name] if name else None


def _repeated(fields: Fields, tools: ToolSet, *, stores: bool, background: bool) -> JsonObject:
    effort = fields.inner("reasoning").text("effort")
    repeated = {
        **{name: fields.text(name) for name in REPEATED},
        "max_output_tokens": fields.integer("max_output_tokens", 1),
        "max_tool_calls": fields.integer("max_tool_calls", 0),
        "metadata": _metadata(fields),
        "model": fields.required_text("model"),
        "parallel_tool_calls": fields.boolean("parallel_tool_calls") is not False,
        "reasoning": {"effort": effort, "summary": _summary(fields)},
        "store": stores,
        "background": background,
        "service_tier": "default",
        "text": _text_config(fields),
        "tool_choice": fields.raw("tool_choice") or "auto",
        "tools": list(tools.told),
        "top_logprobs": fields.integer("top_logprobs", 0) or 0,
        "truncation": fields.text("truncation") or "disabled",
        "user": fields.text("user"),
    }
    if is_larger(repeated, MOST_REPEATED):
        raise fields.wrong("instructions", f"and tools have more than {MOST_REPEATED} characters")
    return repeated


def _metadata(fields: Fields) -> JsonObject:
    metadata = fields.inner("metadata").all()
    if len(metadata) > MOST_METADATA or not all(isinstance(v, str) for v in metadata.values()):
        raise fields.wrong("metadata", f"must hold at most {MOST_METADATA} strings")
    return metadata


def _text_config(fields: Fields) -> JsonObject:
    config = fields.inner("text")
    form = config.inner("format").all()
    form["type"] = form.get("type") or "text"
    if form["type"] == "json_schema":
        form = {"name": "", "description": None, "strict": False, **form}
    return {"format": form, "verbosity": config.text("verbosity") or "medium"}
