"""Messages of any of the APIs as chat templates take them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from localrun.errors import UsageError

if TYPE_CHECKING:
    from localrun.server.fields import JsonObject

ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
TEXT_PARTS = frozenset({"text", "input_text", "output_text"})


def conversation(messages: list[JsonObject]) -> tuple[JsonObject, ...]:
    """Return the messages with known roles, plain text and parsed tool calls.

    Raises:
        UsageError: a message is malformed or holds what no text model can read.
    """
    return tuple(_message(message, f"messages[{index}]") for index, message in enumerate(messages))


def _message(message: JsonObject, path: str) -> JsonObject:
    role = message.get("role")
    if role not in ROLES:
        raise UsageError(
            f"{path}.role must be one of {', '.join(ROLES)}, not {role!r}", param=f"{path}.role"
        )
    if message.get("images"):
        raise _no_vision(f"{path}.images")
    plain: JsonObject = {
        "role": ROLES[role],
        "content": _text(message.get("content"), f"{path}.content"),
    }
    thought = message.get("reasoning_content") or message.get("thinking")
    if thought:
        plain["reasoning_content"] = thought
    if message.get("tool_calls"):
        plain["tool_calls"] = [_tool_call(call, path) for call in message["tool_calls"]]
    for name in ("name", "tool_name", "tool_call_id"):
        if message.get(name):
            plain[name] = message[name]
    return plain


def _text(content: Any, path: str) -> str:  # noqa: ANN401 - any JSON value
    """Join a content's text parts; a text is itself, null is nothing."""
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise UsageError(f"{path} must be a string or a list of parts", param=path)
    texts = []
    for part in content:
        if (
            isinstance(part, dict)
            and part.get("type") in TEXT_PARTS
            and isinstance(part.get("text"), str)
        ):
            texts.append(part["text"])
        else:
            raise _no_vision(path)
    return "\n".join(texts)


def _tool_call(call: Any, path: str) -> JsonObject:  # noqa: ANN401 - any JSON value
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise UsageError(
            f"{path}.tool_calls must hold functions with a name", param=f"{path}.tool_calls"
        )
    arguments = function.get("arguments") or {}
    if isinstance(arguments, str):  # OpenAI writes JSON as text, templates want the object
        try:
            arguments = json.loads(arguments)
        except ValueError as error:
            raise UsageError(
                f"{path}.tool_calls has arguments that are not JSON", param=path
            ) from error
    return {
        "type": "function",
        "id": call.get("id"),
        "function": {"name": function["name"], "arguments": arguments},
    }


def _no_vision(path: str) -> UsageError:
    return UsageError(
        f"{path} holds something other than text, which this model cannot read", param=path
    )
