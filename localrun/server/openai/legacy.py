"""Translation of OpenAI's deprecated function calls to tool calls, and back.

functions, function_call        tools, tool_choice
message.function_call           message.tool_calls, of which it is the first
finish_reason function_call     finish_reason tool_calls
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.server.parsing.json_schema import OBJECT, TEXT, either, listed, one_of, record
from localrun.server.parsing.limits import MAX_TOOLS
from localrun.server.parsing.table import documented

if TYPE_CHECKING:
    from localrun.runner.messages import JsonObject
    from localrun.server.parsing.fields import Fields

CALLS_BEFORE = "call_0"  # the id of calls in earlier messages, which had none
_FUNCTIONS = documented("functions", listed(OBJECT, maxItems=MAX_TOOLS))
_FUNCTION_CALL = documented("function_call", either(one_of("none", "auto"), record({"name": TEXT})))
LEGACY_TOOLS = (_FUNCTIONS, _FUNCTION_CALL)


def with_tools(fields: Fields) -> tuple[Fields, bool]:
    """Return the fields with tools in place of functions, and whether there were functions.

    Raises:
        UsageError: the functions are malformed, or there are tools too.
    """
    functions, choice = fields.objects("functions", most=MAX_TOOLS), fields.raw("function_call")
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


def with_functions(message: JsonObject) -> JsonObject:
    """Return a message or a delta with its first tool call as ``function_call``, without others."""
    calls = message.get("tool_calls")
    if calls is None:
        return message
    others = {name: value for name, value in message.items() if name != "tool_calls"}
    first = next((call for call in calls if not call.get("index")), None)
    return {**others, "function_call": first["function"]} if first else others


def _message(message: JsonObject) -> JsonObject:
    call = message.get("function_call")
    if not call or message.get("tool_calls"):
        return message
    return {**message, "tool_calls": [{"id": CALLS_BEFORE, "type": "function", "function": call}]}
