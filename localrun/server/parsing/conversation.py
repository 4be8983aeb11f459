"""Chat messages of OpenAI's and Ollama's requests, converted to what chat templates take.

Owns the rows of a message. A converted message has a known role, plain text and parsed tool
calls; other fields of the request's message are dropped.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from localrun.errors import UsageError
from localrun.server.parsing.fields import Fields, shown
from localrun.server.parsing.json_schema import (
    ANYTHING,
    OBJECT,
    TEXT,
    either,
    listed,
    one_of,
    record,
    request,
)
from localrun.server.parsing.limits import MAX_MESSAGES
from localrun.server.parsing.table import Field, Table, text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from localrun.runner.messages import JsonObject

ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
TEXT_PARTS = ("text", "input_text", "output_text")
CONTENT = either(TEXT, listed(record({"type": one_of(*TEXT_PARTS), "text": TEXT})))


def message_list(fields: Fields, name: str) -> list[JsonObject]:
    """Return the messages of a request.

    Raises:
        UsageError: they are not a list of objects, or too many.
    """
    return fields.objects(name, most=MAX_MESSAGES)


def conversation(messages: Iterable[JsonObject]) -> tuple[JsonObject, ...]:
    """Return the messages with known roles, plain text and parsed tool calls.

    Raises:
        UsageError: a message is malformed, or has content that is not text.
    """
    return tuple(
        _message(Fields(message, f"messages[{index}].")) for index, message in enumerate(messages)
    )


def _message(message: Fields) -> JsonObject:
    values = MESSAGE.read(message)
    plain: JsonObject = {"role": values[_ROLE], "content": values[_CONTENT]}
    thought = values[_REASONING_CONTENT] or values[_THINKING]
    if thought:
        plain["reasoning_content"] = thought
    calls = values[_TOOL_CALLS]
    if calls:
        plain["tool_calls"] = calls
    for row in _NAMES:
        if values[row]:
            plain[row.name] = values[row]
    return plain


def _role(message: Fields, name: str) -> str:
    role = message.text(name)
    if role not in ROLES:
        raise message.wrong(name, f"must be one of {', '.join(ROLES)}, not {shown(role)}")
    return ROLES[role]


def _images(message: Fields, name: str) -> None:
    if message.raw(name):
        raise _no_vision(message, name)


def _content(message: Fields, name: str) -> str:
    """Join the text parts of a content; a string is itself, null is empty."""
    content = message.raw(name)
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise message.wrong(name, "must be a string or a list of parts")
    return "\n".join(_part_text(message, part) for part in content)


def _part_text(message: Fields, part: object) -> str:
    if not isinstance(part, dict) or str(part.get("type")) not in TEXT_PARTS:
        raise _no_vision(message, "content")
    if not isinstance(part.get("text"), str):
        raise message.wrong("content", "has a part without text")
    text: str = part["text"]
    return text


def _tool_calls(message: Fields, name: str) -> list[JsonObject]:
    return [_tool_call(message, call) for call in message.objects(name)]


def _tool_call(message: Fields, call: JsonObject) -> JsonObject:
    function = call.get("function")
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise message.wrong("tool_calls", "must have functions with a name")
    arguments = function.get("arguments") or {}
    if isinstance(arguments, str):
        arguments = _arguments(arguments)
    plain = {"name": function["name"], "arguments": arguments}
    return {"type": "function", "id": call.get("id"), "function": plain}


def _arguments(text: str) -> object:
    """Return the arguments as an object, which templates take, of OpenAI's JSON text.

    The call of a truncated response may come back with half of its text. Then the model gets
    that text as its one argument, and the conversation continues.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {"arguments": text}
    return value if isinstance(value, dict) else {"arguments": text}


def _no_vision(message: Fields, name: str) -> UsageError:
    return message.wrong(name, "contains something other than text, which this model cannot read")


_FUNCTION = request({"name": TEXT}, {"arguments": either(TEXT, OBJECT)})
_ROLE = Field("role", _role, one_of(*ROLES), is_required=True)
_CONTENT = Field("content", _content, CONTENT)
_REASONING_CONTENT, _THINKING = text("reasoning_content"), text("thinking")
_TOOL_CALLS = Field(
    "tool_calls", _tool_calls, listed(record({"function": _FUNCTION}, {"id": ANYTHING}))
)
_NAMES = (text("name"), text("tool_name"), text("tool_call_id"))
MESSAGE = Table(
    (
        _ROLE,
        Field("images", _images, {"type": "array", "maxItems": 0}),
        _CONTENT,
        _REASONING_CONTENT,
        _THINKING,
        _TOOL_CALLS,
        *_NAMES,
    ),
    component="Message",
)
MESSAGES_SCHEMA = listed(MESSAGE.reference())
SOME_MESSAGES_SCHEMA = listed(MESSAGE.reference(), minItems=1)
