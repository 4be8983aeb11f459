"""Request body of ``/v1/messages``: its field table, and the core request that it makes.

Fields without effect here need no row: ``metadata``, ``service_tier``, ``cache_control`` (every
prompt is cached), ``context_management`` (it only saves context). ``thinking`` is off by default,
as in Anthropic's API: programs that do not request it take the first block for the answer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from localrun.runner.messages import Generation, PromptSpec
from localrun.server.anthropic.conversation import conversation
from localrun.server.core.request import CompletionRequest
from localrun.server.parsing.constraints import (
    ANTHROPIC_FORMAT,
    ANTHROPIC_OLD_FORMAT,
    anthropic_constraint,
)
from localrun.server.parsing.fields import Fields, brief, shown
from localrun.server.parsing.json_schema import (
    FLAG,
    OBJECT,
    POSITIVE,
    TEXT,
    either,
    listed,
    one_of,
    record,
)
from localrun.server.parsing.media import NO_IMAGES, refuse_images
from localrun.server.parsing.options import (
    DRAFT,
    KEEP_ALIVE,
    MODEL,
    NUM_CTX,
    NUM_KEEP,
    OVERFLOW,
    SAMPLING_TABLE,
    sampling_of,
    stop_strings,
)
from localrun.server.parsing.table import (
    Field,
    Table,
    choice,
    documented,
    flag,
    group,
    integer,
    neutral,
    required_text,
    text,
)
from localrun.server.parsing.tools import client_tools, tool_list

if TYPE_CHECKING:
    from localrun.runner.messages import JsonObject
    from localrun.server.parsing.table import Values

CHOICES = {"auto": "auto", "any": "required", "none": "none"}
THINKING = {"enabled": True, "adaptive": True, "disabled": False}
# level of the model, which has three at most
EFFORTS = {
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "high",
    "max": "high",
    "ultra": "high",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MessagesCall:
    """A parsed request."""

    request: CompletionRequest
    stream: bool
    shows_thoughts: bool


def parse_call(fields: Fields) -> MessagesCall:
    """Parse the body of ``/v1/messages``.

    Raises:
        UsageError: a field is wrong or cannot be honoured; the error names it.
    """
    values = MESSAGES.read(fields)
    request, is_streamed = _request(values, values[_MAX_TOKENS]), values[_STREAM] or False
    generation = replace(request.generation, is_streamed=is_streamed)
    return MessagesCall(
        request=replace(request, generation=generation),
        stream=is_streamed,
        shows_thoughts=values[_THINKING][_DISPLAY] != "omitted",
    )


def parse_count(fields: Fields) -> CompletionRequest:
    """Parse the body of ``/v1/messages/count_tokens``.

    Raises:
        UsageError: a field is wrong or cannot be honoured; the error names it.
    """
    return _request(COUNT.read(fields), None)


def _request(values: Values, max_tokens: int | None) -> CompletionRequest:
    tools, thinking, choice = values[_TOOLS], values[_THINKING], values[_TOOL_CHOICE]
    tool_choice = _tool_choice(choice, {tool["function"]["name"] for tool in tools})
    prompt = PromptSpec(
        messages=values[_MESSAGES],
        continue_final_message=True,
        tools=() if tool_choice == "none" else tools,
        template_options=_template_options(thinking, values[_OUTPUT_CONFIG]),
    )
    generation = Generation(
        prompt=prompt,
        constraint=anthropic_constraint(values[_OUTPUT_CONFIG], values),
        tool_choice=tool_choice,
        parallel_tool_calls=not choice[_DISABLE_PARALLEL_TOOL_USE],
        thinking_budget=thinking[_BUDGET_TOKENS],
    )
    return CompletionRequest(
        model=values[MODEL],
        generation=generation,
        sampling=sampling_of(values),
        num_predict=max_tokens,
        num_ctx=values[NUM_CTX],
        draft=values[DRAFT] or None,
        stop=values[_STOP_SEQUENCES] or None,
        keep_alive=values[KEEP_ALIVE],
        overflow=values[OVERFLOW],
        num_keep=values[NUM_KEEP],
    )


def _max_tokens(fields: Fields, name: str) -> int:
    value = fields.integer(name, 1)
    if value is None:
        raise fields.wrong(name, "is required")
    return value


def _messages(fields: Fields, name: str) -> tuple[JsonObject, ...]:  # noqa: ARG001 - system too
    return conversation(fields)


def _tools(fields: Fields, name: str) -> tuple[JsonObject, ...]:
    """Return the tools in the form that templates take."""
    return tuple(_tool(_TOOL.read(tool)) for tool in client_tools(tool_list(fields, name)))


def _tool(tool: Values) -> JsonObject:
    function: JsonObject = {"name": tool[_NAME]}
    if tool[_DESCRIPTION]:
        function["description"] = tool[_DESCRIPTION]
    return {"type": "function", "function": {**function, "parameters": tool[_INPUT_SCHEMA]}}


def _tool_type(tool: Fields, name: str) -> None:
    kind = tool.text(name)
    if kind not in {None, "custom"}:
        raise tool.wrong(
            name, f"is {brief(kind)}, a tool of Anthropic's own, which is not supported"
        )


def _input_schema(tool: Fields, name: str) -> JsonObject:
    schema = tool.raw(name)
    if not isinstance(schema, dict):
        raise tool.wrong(name, "must be a JSON Schema, which is an object")
    return schema


def _tool_choice(choice: Values, names: set[str]) -> str:
    kind, fields = choice[_CHOICE_TYPE] or "auto", choice.fields
    if kind == "tool":
        name = fields.required_text("name")
        if name not in names:
            raise fields.wrong("name", f"names no tool of the request: {shown(name)}")
        return name
    if kind not in CHOICES:
        raise fields.wrong("type", f"must be one of {', '.join(CHOICES)}, tool")
    if kind == "any" and not names:
        raise fields.wrong("type", "is any, but there are no tools")
    return CHOICES[kind]


def _thinking_type(fields: Fields, name: str) -> bool:
    kind = fields.text(name) or "disabled"
    if kind not in THINKING:
        raise fields.wrong(name, f"must be one of {', '.join(THINKING)}, not {brief(kind)}")
    return THINKING[kind]


def _template_options(thinking: Values, config: Values) -> JsonObject:
    options: JsonObject = {"enable_thinking": thinking[_THINKING_TYPE]}
    effort = config[_EFFORT]
    if effort is not None:
        options["reasoning_effort"] = EFFORTS[effort]
    return options


_MAX_TOKENS = Field("max_tokens", _max_tokens, POSITIVE, is_required=True)
_STREAM = flag("stream")
_TEXT_BLOCKS = either(TEXT, listed(record({"type": TEXT})))
_ROLES = one_of("user", "assistant", "system")
_MESSAGES = Field(
    "messages",
    _messages,
    listed(record({"role": _ROLES, "content": _TEXT_BLOCKS}), minItems=1),
    is_required=True,
)
_SYSTEM = documented("system", _TEXT_BLOCKS)  # read with the messages
_NAME, _DESCRIPTION = required_text("name"), text("description")
_INPUT_SCHEMA = Field("input_schema", _input_schema, OBJECT, is_required=True)
_TOOL = Table((Field("type", _tool_type, one_of("custom")), _INPUT_SCHEMA, _NAME, _DESCRIPTION))
_TOOLS = Field("tools", _tools, listed(_TOOL.schema()))
_CHOICE_TYPE = Field("type", Fields.text, one_of(*CHOICES, "tool"))
_DISABLE_PARALLEL_TOOL_USE = flag("disable_parallel_tool_use")
_TOOL_CHOICE = group(
    "tool_choice", Table((_CHOICE_TYPE, documented("name", TEXT), _DISABLE_PARALLEL_TOOL_USE))
)
_THINKING_TYPE = Field("type", _thinking_type, one_of(*THINKING))
_BUDGET_TOKENS, _DISPLAY = integer("budget_tokens", 1), text("display")
_THINKING = group("thinking", Table((_THINKING_TYPE, _BUDGET_TOKENS, _DISPLAY)))
_EFFORT = choice("effort", EFFORTS)
_OUTPUT_CONFIG = group("output_config", Table((_EFFORT, ANTHROPIC_FORMAT)))
_STOP_SEQUENCES = stop_strings("stop_sequences")
_ROWS = (
    neutral("mcp_servers", ([],)),
    neutral("container"),
    _TOOLS,
    _TOOL_CHOICE,
    MODEL,
    _MESSAGES,
    Field("images", lambda fields, _: refuse_images(fields), NO_IMAGES.schema),
    _SYSTEM,
    _OUTPUT_CONFIG,
    ANTHROPIC_OLD_FORMAT,
    *SAMPLING_TABLE.rows,
    NUM_CTX,
    DRAFT,
    _STOP_SEQUENCES,
    KEEP_ALIVE,
    OVERFLOW,
    NUM_KEEP,
)
MESSAGES = Table((_MAX_TOKENS, *_ROWS, _THINKING, _STREAM), component="MessagesRequest")
# programs send the body of a message to have its tokens counted: these have no effect then
_COUNT_THINKING = group(
    "thinking", Table((_THINKING_TYPE, _BUDGET_TOKENS, documented("display", TEXT)))
)
COUNT = Table(
    (*_ROWS, _COUNT_THINKING, documented("max_tokens", POSITIVE), documented("stream", FLAG))
)
