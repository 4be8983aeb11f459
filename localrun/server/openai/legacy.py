"""OpenAI's first words for tools, which old programs still use, in today's words and back.

functions, function_call        tools, tool_choice
message.function_call           message.tool_calls, of which it is the first
finish_reason function_call     finish_reason tool_calls
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.server.parsing.fields import Fields
from localrun.server.parsing.limits import MOST_TOOLS

if TYPE_CHECKING:
    from localrun.server.parsing.fields import JsonObject

CALLS_BEFORE = "call_0"  # an id for calls of earlier messages, which had none


def in_new_words(fields: Fields) -> tuple[Fields, bool]:
    """Return the fields with tools in place of functions, and whether there were any.

    Raises:
        UsageError: they are malformed, or there are both.
    """
    functions, choice = fields.objects("functions", most=MOST_TOOLS), fields.raw("function_call")
    changed: JsonObject = {}
    if any("function_call" in message for message in fields.objects("messages")):
        changed["messages"] = [_message(message) for message in fields.objects("messages")]
    if not functions:
        return fields.but(**changed), False
    if fields.raw("tools"):
        raise fields.wrong("functions", "cannot be combined with tools")
    changed["tools"] = [{"type": "function", "function": function} for function in functions]
    if isinstance(choice, dict):
        choice = {"type": "function", "function": {"name": choice.get("name")}}
    return fields.but(**changed, tool_choice=choice), True


def in_old_words(told: JsonObject) -> JsonObject:
    """Return a message or a delta with the first tool call as a function's; there is no second."""
    calls = told.get("tool_calls")
    if calls is None:
        return told
    rest = {name: value for name, value in told.items() if name != "tool_calls"}
    first = next((call for call in calls if not call.get("index")), None)
    return {**rest, "function_call": first["function"]} if first else rest


def _message(message: JsonObject) -> JsonObject:
    call = message.get("function_call")
    if not call or message.get("tool_calls"):
        return message
    return {**message, "tool_calls": [{"id": CALLS_BEFORE, "type": "function", "function": call}]}
