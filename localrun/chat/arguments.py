"""Shape of tool calls in messages: arguments as text or object, content empty or null.

The APIs bring arguments as JSON text or as an object. Most templates read objects and would print
text with quotes; some read text and would print an object as Python does. Some write calls only if
the message's content is null: an empty content hides the calls (DeepSeek-R1).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from localrun.errors import UsageError

if TYPE_CHECKING:
    from localrun.chat.adaptation import Message, Render

_ID = "zq1234567"  # nine letters and digits: some templates require that
_PROBE: list[Message] = [
    {"role": "user", "content": "q"},
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [
            {
                "id": _ID,
                "type": "function",
                "function": {"name": "f", "arguments": {"zqkey": "zqvalue"}},
            }
        ],
    },
    {"role": "tool", "content": "r", "tool_call_id": _ID, "name": "f"},
]


@dataclass(frozen=True, slots=True)
class CallStyle:
    """The shape of tool calls that a template reads."""

    is_text: bool  # the arguments: the template fails on an object, or prints it as Python does
    has_null_content: bool  # of a message with nothing but calls


def call_style(render: Render) -> CallStyle:
    """Return the shape of calls that a template reads, found by rendering probes."""
    null = without_empty_content(_PROBE)
    has_null_content = not _shows_call(render, _PROBE) and _shows_call(render, null)
    probe = null if has_null_content else _PROBE
    return CallStyle(_reads_text(render, probe), has_null_content)


def without_empty_content(messages: Sequence[Message]) -> list[Message]:
    """Return the messages with null as the content of messages that have nothing but calls."""
    return [
        {**message, "content": None}
        if message.get("tool_calls") and not message.get("content")
        else message
        for message in messages
    ]


def with_arguments(messages: Sequence[Message], *, as_text: bool) -> list[Message]:
    """Return the messages with the arguments of all calls as text, or as objects."""
    return [
        {**message, "tool_calls": [_converted(call, as_text=as_text) for call in calls]}
        if isinstance(calls := message.get("tool_calls"), Sequence)
        else message
        for message in messages
    ]


def _reads_text(render: Render, probe: Sequence[Message]) -> bool:
    try:
        return "{'zqkey'" in render(probe)
    except UsageError:
        return _renders(render, with_arguments(probe, as_text=True))


def _shows_call(render: Render, messages: Sequence[Message]) -> bool:
    for as_text in (False, True):
        try:
            if "zqkey" in render(with_arguments(messages, as_text=as_text)):
                return True
        except UsageError:
            continue
    return False


def _renders(render: Render, messages: Sequence[Message]) -> bool:
    try:
        render(messages)
    except UsageError:
        return False
    return True


def _converted(call: Any, *, as_text: bool) -> Any:  # noqa: ANN401 - as the API brought it
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping):
        return call
    arguments = function.get("arguments")
    if as_text and isinstance(arguments, Mapping):
        arguments = json.dumps(arguments, ensure_ascii=False)
    elif not as_text and isinstance(arguments, str):
        arguments = _parsed(arguments)
    return {**call, "function": {**function, "arguments": arguments}}


def _parsed(text: str) -> Any:  # noqa: ANN401 - any JSON value
    """Return the object of a JSON text, or the text itself if it is not a JSON object."""
    try:
        value = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, dict) else text
