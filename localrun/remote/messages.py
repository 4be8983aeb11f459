"""Messages of a conversation, as OpenAI's API takes them.

The core's messages have tool calls with parsed arguments, and of some clients no ids; engines want
text and ids that agree.
"""

from __future__ import annotations

import json
from collections import defaultdict, deque
from typing import TYPE_CHECKING

from localrun.chat.media_marks import MEDIA
from localrun.remote.media import content_parts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from localrun.runner.messages import JsonObject

KEPT = ("role", "content", "reasoning_content", "name")


def engine_messages(messages: Iterable[JsonObject]) -> list[JsonObject]:
    """Return the messages for an engine; calls and results without an id get one."""
    converted: list[JsonObject] = []
    open_calls = _OpenCalls()
    for message in messages:
        plain = {name: message[name] for name in KEPT if name in message}
        if message.get(MEDIA):
            plain["content"] = content_parts(message["content"], message[MEDIA])
        if message.get("tool_calls"):
            plain["tool_calls"] = open_calls.begin(message["tool_calls"])
        if message.get("role") == "tool":
            plain.pop("name", None)
            plain["tool_call_id"] = open_calls.answer(message)
        converted.append(plain)
    return converted


class _OpenCalls:
    """Calls of the last message that has some, without a result so far."""

    def __init__(self) -> None:
        self._num_calls = 0
        self._names: dict[str, str] = {}  # by id, in the order of the calls
        self._ids: defaultdict[str, deque[str]] = defaultdict(deque)  # by name

    def begin(self, calls: Iterable[JsonObject]) -> list[JsonObject]:
        """Return the calls of a message, each with an id and the text of its arguments."""
        self._names.clear()
        self._ids.clear()
        return [self._begun(call) for call in calls]

    def answer(self, message: JsonObject) -> str:
        """Return the id of the call that a result belongs to: by id, by name, or the next."""
        call_id = message.get("tool_call_id")
        if not call_id:
            ids = self._ids[str(message.get("tool_name") or message.get("name") or "")]
            while ids and ids[0] not in self._names:
                ids.popleft()
            call_id = ids[0] if ids else next(iter(self._names), "call_0")
        self._names.pop(str(call_id), None)
        return str(call_id)

    def _begun(self, call: JsonObject) -> JsonObject:
        call_id = str(call.get("id") or f"call_{self._num_calls}")
        self._num_calls += 1
        name = call["function"]["name"]
        self._names[call_id] = name
        self._ids[name].append(call_id)
        function = {"name": name, "arguments": _text(call["function"].get("arguments"))}
        return {"id": call_id, "type": "function", "function": function}


def _text(arguments: object) -> str:
    if isinstance(arguments, str):
        return arguments
    return json.dumps(arguments or {}, ensure_ascii=False)
