"""The body of ``/v1/messages`` as the one core request.

Fields that change nothing here pass: ``metadata``, ``service_tier``, ``cache_control``
(every prompt is cached), ``context_management`` (what it thins out only saves room).
``thinking`` is off unless it is asked for, as there: programs that do not ask for it take
the first block for the answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from localrun.runner.messages import Generation, PromptSpec
from localrun.server.anthropic.conversation import conversation
from localrun.server.core.request import CompletionRequest
from localrun.server.parsing import limits
from localrun.server.parsing.constraints import anthropic_constraint
from localrun.server.parsing.fields import Fields, brief, shown
from localrun.server.parsing.media import refuse_media
from localrun.server.parsing.options import (
    keep_alive,
    num_keep,
    overflow,
    refuse_unless_neutral,
    sampling,
)
from localrun.server.parsing.server_tools import without_server_tools

if TYPE_CHECKING:
    from localrun.server.parsing.fields import JsonObject

NEUTRAL: dict[str, tuple[Any, ...]] = {"mcp_servers": ([],), "container": ()}
CHOICES = {"auto": "auto", "any": "required", "none": "none"}
THINKING = {"enabled": True, "adaptive": True, "disabled": False}
# models know three levels at most
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
    """Read the body of ``/v1/messages``.

    Raises:
        UsageError: a field is wrong or cannot be honoured; the error names it.
    """
    maximum = fields.integer("max_tokens", 1)
    if maximum is None:
        raise fields.wrong("max_tokens", "is required")
    return MessagesCall(
        request=parse_request(fields, maximum),
        stream=fields.boolean("stream") or False,
        shows_thoughts=fields.inner("thinking").text("display") != "omitted",
    )


def parse_request(fields: Fields, maximum: int | None = None) -> CompletionRequest:
    """Read what ``/v1/messages`` and ``/v1/messages/count_tokens`` have in common.

    Raises:
        UsageError: a field is wrong or cannot be honoured; the error names it.
    """
    refuse_unless_neutral(fields, NEUTRAL)
    refuse_media(fields, "messages")
    stated = [Fields(tool, f"tools[{place}].") for place, tool in enumerate(limits.tools(fields))]
    tools = [_tool(tool) for tool in without_server_tools(stated)]
    choice = _tool_choice(fields, {tool["function"]["name"] for tool in tools})
    prompt = PromptSpec(
        messages=conversation(fields),
        continue_final_message=True,
        tools=() if choice == "none" else tuple(tools),
        template_options=_template_options(fields),
    )
    generation = Generation(
        prompt=prompt,
        constraint=anthropic_constraint(fields),
        tool_choice=choice,
        parallel_tool_calls=not fields.inner("tool_choice").boolean("disable_parallel_tool_use"),
        thinking_budget=fields.inner("thinking").integer("budget_tokens", 1),
    )
    return CompletionRequest(
        model=limits.model_name(fields),
        generation=generation,
        sampling=sampling(fields),
        num_predict=maximum,
        num_ctx=limits.context_length(fields),
        stop=limits.stop_strings(fields, "stop_sequences") or None,
        keep_alive=keep_alive(fields),
        overflow=overflow(fields),
        num_keep=num_keep(fields),
    )


def _tool(tool: Fields) -> JsonObject:
    """Return a tool in the form that templates know."""
    kind = tool.text("type")
    if kind not in {None, "custom"}:
        raise tool.wrong(
            "type", f"is {brief(kind)}, a tool of Anthropic's own, which is not supported"
        )
    schema = tool.raw("input_schema")
    if not isinstance(schema, dict):
        raise tool.wrong("input_schema", "must be a JSON Schema, which is an object")
    function: JsonObject = {"name": tool.required_text("name")}
    description = tool.text("description")
    if description:
        function["description"] = description
    return {"type": "function", "function": {**function, "parameters": schema}}


def _tool_choice(fields: Fields, names: set[str]) -> str:
    choice = fields.inner("tool_choice")
    kind = choice.text("type") or "auto"
    if kind == "tool":
        name = choice.required_text("name")
        if name not in names:
            raise choice.wrong("name", f"names no tool of the request: {shown(name)}")
        return name
    if kind not in CHOICES:
        raise choice.wrong("type", f"must be one of {', '.join(CHOICES)}, tool")
    if kind == "any" and not names:
        raise choice.wrong("type", "is any, but there are no tools")
    return CHOICES[kind]


def _template_options(fields: Fields) -> JsonObject:
    thinking, config = fields.inner("thinking"), fields.inner("output_config")
    kind, effort = thinking.text("type") or "disabled", config.text("effort")
    if kind not in THINKING:
        raise thinking.wrong("type", f"must be one of {', '.join(THINKING)}, not {brief(kind)}")
    options: JsonObject = {"enable_thinking": THINKING[kind]}
    if effort is not None:
        if effort not in EFFORTS:
            raise config.wrong("effort", f"must be one of {', '.join(EFFORTS)}")
        options["reasoning_effort"] = EFFORTS[effort]
    return options
