"""Chat messages of OpenAI's and Ollama's requests, converted to what chat templates take.

Owns the rows of a message. A converted message has a known role, text with marks for its media
(chat/media_marks.py), and parsed tool calls; other fields of the request's message are dropped.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from localrun.chat.media_marks import MEDIA, joined
from localrun.server.parsing.fields import Fields, brief, shown
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
from localrun.server.parsing.media import MAX_MEDIA, MEDIA_TYPES, images_of, medium_of
from localrun.server.parsing.table import Field, Table, text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from localrun.runner.messages import JsonObject
    from localrun.server.parsing.media import Part

ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
TEXT_PARTS = ("text", "input_text", "output_text")
TAKING_MEDIA = ("user", "tool", "assistant")
TEXT_PART = record({"type": one_of(*TEXT_PARTS), "text": TEXT})
MEDIA_PART = record({"type": one_of(*sorted(MEDIA_TYPES))})
CONTENT = either(TEXT, listed(either(TEXT_PART, MEDIA_PART)))


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
    parts = [*values[_IMAGES], *values[_CONTENT]]  # an image stands before the text, as in Ollama
    plain: JsonObject = {"role": values[_ROLE], **joined(parts, "\n")}
    if MEDIA in plain and plain["role"] not in TAKING_MEDIA:
        raise message.wrong("content", f"of {plain['role']} may have text only")
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


def _content(message: Fields, name: str) -> list[Part]:
    """Return the texts and media of a content; a string is itself, null is empty."""
    content = message.raw(name)
    if content is None or isinstance(content, str):
        return [content or ""]
    if not isinstance(content, list):
        raise message.wrong(name, "must be a string or a list of parts")
    return [_part(message, part, index) for index, part in enumerate(content)]


def _part(message: Fields, part: object, index: int) -> Part:
    if not isinstance(part, dict):
        raise message.wrong("content", "has a part that is not an object")
    fields = Fields(part, f"{message.path('content')}[{index}].")
    if str(part.get("type")) not in TEXT_PARTS:
        medium = medium_of(fields)
        if medium is None:
            raise fields.wrong("type", f"is {brief(str(part.get('type')))}, which is not supported")
        return medium
    text = part.get("text")
    if not isinstance(text, str):
        raise message.wrong("content", "has a part without text")
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


_FUNCTION = request({"name": TEXT}, {"arguments": either(TEXT, OBJECT)})
_ROLE = Field("role", _role, one_of(*ROLES), is_required=True)
_CONTENT = Field("content", _content, CONTENT)
_IMAGES = Field("images", images_of, listed(TEXT, maxItems=MAX_MEDIA))
_REASONING_CONTENT, _THINKING = text("reasoning_content"), text("thinking")
_TOOL_CALLS = Field(
    "tool_calls", _tool_calls, listed(record({"function": _FUNCTION}, {"id": ANYTHING}))
)
_NAMES = (text("name"), text("tool_name"), text("tool_call_id"))
MESSAGE = Table(
    (
        _ROLE,
        _IMAGES,
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
