"""Probe of a template: renderings with and without a tool call and reasoning.

The probe's texts are words that no template contains, so that they can be found in the renderings.
A template that refuses a conversation, or writes too much, gives an empty text.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from localrun.chat.profiles.tools import Tools
from localrun.chat.template import ChatTemplate
from localrun.chat.tool_calls import ToolCall
from localrun.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from localrun.chat.budget import Allowance
    from localrun.chat.template import TemplateCode

    Reply = Callable[[Sequence[dict[str, Any]]], str]

NAME = "zqtool"
ARGUMENTS = {"zqcity": "zqparis", "zqdays": 31}
CALLS = [ToolCall(NAME, ARGUMENTS)]
ANSWER = "zqanswer"
THOUGHT = "zqthought"
CALL_ID = "zq1234567"  # nine letters and digits, as Mistral requires
MAX_REPLY_CHARS = 8192  # honest templates write a few hundred
_QUESTION = "zqquestion"
_RESULT = "zqresult"
_ITEM = "zqitem"
_DEFINITION = {
    "type": "function",
    "function": {
        "name": NAME,
        "description": "d",
        "parameters": {
            "type": "object",
            "properties": {
                "zqcity": {"type": "string", "description": "c"},
                "zqdays": {"type": "integer", "description": "n"},
            },
            "required": ["zqcity"],
        },
    },
}
TOOLS = Tools.of([_DEFINITION])


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """The text that a template writes after the user's question; empty if it refuses."""

    with_call: str  # up to the tool's result
    without_call: str
    with_thought: str
    prompt_tail: str
    prints_lists: bool = False  # as Python does instead of as JSON


def probe_of(source: str | TemplateCode, allowance: Allowance) -> Probe:
    """Return the probe of a template; its texts are empty if the template is broken.

    Raises:
        RequestTooCostlyError: the allowance is used up.
    """
    try:
        template = ChatTemplate(source, bos="<zqbos>", eos="<zqeos>", allowance=allowance)
    except UsageError:
        allowance.charge(0)
        return Probe(with_call="", without_call="", with_thought="", prompt_tail="")
    probe = _probe(partial(_reply, template, allowance))
    allowance.charge(0)  # a probe that was stopped proves nothing
    return probe


def _probe(reply: Reply) -> Probe:
    result = {"role": "tool", "content": _RESULT, "tool_call_id": CALL_ID, "name": NAME}
    return Probe(
        with_call=_called(reply, result, ARGUMENTS).partition(_RESULT)[0],
        without_call=reply([{"role": "assistant", "content": ANSWER}]),
        with_thought=reply(
            [{"role": "assistant", "content": ANSWER, "reasoning_content": THOUGHT}]
        ).partition(ANSWER)[0],
        prompt_tail=reply([]),
        prints_lists=f"['{_ITEM}']" in _called(reply, result, {"zqlist": [_ITEM]}),
    )


def _called(reply: Reply, result: dict[str, Any], stated: dict[str, Any]) -> str:
    """Return the rendering of a call, in the first shape that the template accepts."""
    for arguments in (stated, json.dumps(stated)):
        for content in ("", None):
            function = {"name": NAME, "arguments": arguments}
            call = {"id": CALL_ID, "type": "function", "function": function}
            message = {"role": "assistant", "content": content, "tool_calls": [call]}
            rendered = reply([message, result])
            if NAME in rendered:
                return rendered
    return ""


def _reply(template: ChatTemplate, allowance: Allowance, messages: Sequence[dict[str, Any]]) -> str:
    question = {"role": "user", "content": _QUESTION}
    try:
        text = template.render([question, *messages], tools=[_DEFINITION], allowance=allowance)
    except UsageError:
        return ""
    reply = text.rpartition(_QUESTION)[2]
    return reply if len(reply) <= MAX_REPLY_CHARS else ""
