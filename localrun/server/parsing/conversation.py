"""Messages of any of the APIs as chat templates take them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from localrun.errors import UsageError
from localrun.server.parsing.fields import Fields, shown

if TYPE_CHECKING:
    from localrun.server.parsing.fields import JsonObject

ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
TEXT_PARTS = frozenset({"text", "input_text", "output_text"})
KEPT_NAMES = ("name", "tool_name", "tool_call_id")


def conversation(messages: list[JsonObject]) -> tuple[JsonObject, ...]:
    """Return the messages with known roles, plain text and parsed tool calls.

    Raises:
        UsageError: a message is malformed or holds what no text model can read.
    """
    return tuple(
        _message(Fields(message, f"messages[{index}].")) for index, message in enumerate(messages)
    )


def _message(message: Fields) -> JsonObject:
    role = message.text("role")
    if role not in ROLES:
        raise message.wrong("role", f"must be one of {', '.join(ROLES)}, not {shown(role)}")
    if message.raw("images"):
        raise _no_vision(message, "images")
    plain: JsonObject = {"role": ROLES[role], "content": _content(message)}
    thought = message.text("reasoning_content") or message.text("thinking")
    if thought:
        plain["reasoning_content"] = thought
    calls = message.objects("tool_calls")
    if calls:
        plain["tool_calls"] = [_tool_call(message, call) for call in calls]
    for name in KEPT_NAMES:
        if message.text(name):
            plain[name] = message.text(name)
    return plain


def _content(message: Fields) -> str:
    """Join a content's text parts; a text is itself, null is nothing."""
    content = message.raw("content")
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise message.wrong("content", "must be a string or a list of parts")
    return "\n".join(_part_text(message, part) for part in content)


def _part_text(message: Fields, part: object) -> str:
    if not isinstance(part, dict) or str(part.get("type")) not in TEXT_PARTS:
        raise _no_vision(message, "content")
    if not isinstance(part.get("text"), str):
        raise message.wrong("content", "has a part whose text is none")
    text: str = part["text"]
    return text


def _tool_call(message: Fields, call: JsonObject) -> JsonObject:
    function = call.get("function")
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise message.wrong("tool_calls", "must hold functions with a name")
    arguments = function.get("arguments") or {}
    if isinstance(arguments, str):
        arguments = _arguments(arguments)
    plain = {"name": function["name"], "arguments": arguments}
    return {"type": "function", "id": call.get("id"), "function": plain}


def _arguments(text: str) -> object:
    """Return what OpenAI writes as text, and templates want as an object.

    An answer that its limit cut off has half a call, and comes back like that: the model is
    shown what it wrote, and the conversation goes on.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {"arguments": text}
    return value if isinstance(value, dict) else {"arguments": text}


def _no_vision(message: Fields, name: str) -> UsageError:
    return message.wrong(name, "holds something other than text, which this model cannot read")
