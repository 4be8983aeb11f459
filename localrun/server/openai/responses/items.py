"""Items of the Responses API: their kinds, and their conversion to messages for templates.

    message                    text of the user, the assistant, the system or a developer
    reasoning                  a thought
    function_call, custom_tool_call, local_shell_call      each with _output
    item_reference             stands for an item that an earlier response has, by its id

Thoughts that the client stores come back in ``encrypted_content``, behind a mark. They are not
encrypted, since the machine is the user's own. Content with another mark, or without one, was made
by another server and is ignored.
"""

from __future__ import annotations

import json
import secrets
from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING

from localrun.chat.media_marks import joined
from localrun.server.openai.responses.tools import INPUT, SHELL, known_name
from localrun.server.parsing.fields import Fields, brief, shown
from localrun.server.parsing.media import part_of
from localrun.server.parsing.role_order import BETWEEN_BLOCKS, given, reminder, with_head

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.runner.messages import JsonObject
    from localrun.server.parsing.media import Part

SYSTEM = {"system", "developer"}
TEXTS = {"input_text": "text", "output_text": "text", "text": "text", "refusal": "refusal"}
THOUGHTS = {"reasoning_text": "text", "summary_text": "text", "text": "text"}
SHELL_ARGUMENTS = ("command", "working_directory", "timeout_ms")
PREFIXES = {
    "message": "msg",
    "reasoning": "rs",
    "function_call": "fc",
    "function_call_output": "fco",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctco",
    "local_shell_call": "lsh",
    "local_shell_call_output": "lsho",
}
OWN_MARK = "localrun:"


def new_id(kind: str) -> str:
    """Return a new id for an item."""
    return f"{PREFIXES[kind]}_{secrets.token_hex(16)}"


def sealed(thought: str) -> str:
    """Return the ``encrypted_content`` of a thought."""
    return OWN_MARK + thought


def kind_of(item: Fields) -> str:
    """Return the type of an item, which messages and references may omit."""
    kind = item.text("type")
    if kind is None:
        kind = "message" if item.raw("role") is not None else "item_reference"
    return kind


def whole_item(item: Fields) -> JsonObject:
    """Return an item of a request in its stored form: with a type, an id, a status and parts."""
    kind, members = kind_of(item), item.all()
    kept: JsonObject = {"status": "completed"} if kind != "reasoning" else {}
    kept |= {**members, "type": kind, "id": item.text("id") or new_id(kind)}
    if kind == "message" and isinstance(members.get("content"), str):
        kept["content"] = [_text_part(members["content"], members.get("role"))]
    return kept


def conversation(instructions: str | None, items: list[Fields]) -> tuple[JsonObject, ...]:
    """Return the messages of the items, with the instructions as the first one.

    Raises:
        UsageError: an item is malformed, or has content that is not text.
    """
    system = list(takewhile(_is_system, items))
    reader = _ItemReader()
    turns = [reader.turn(item) for item in items[len(system) :]]
    return with_head([instructions or "", *map(_content, system)], filter(None, turns))


class _ItemReader:
    """Reader of items in their order: a tool result needs the name of the earlier call."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}  # of tools, by the id of a call
        self._kinds: dict[str, Callable[[Fields], JsonObject]] = {
            "message": self._message,
            "reasoning": self._reasoning,
            "function_call": self._function_call,
            "function_call_output": self._output,
            "custom_tool_call": self._custom_call,
            "custom_tool_call_output": self._output,
            "local_shell_call": self._shell_call,
            "local_shell_call_output": self._output,
        }

    def turn(self, item: Fields) -> JsonObject:
        """Return the message of an item, or an empty object if it has no content."""
        kind = kind_of(item)
        if kind not in self._kinds:
            raise item.wrong("type", f"is {brief(kind)}, which is not supported here")
        return self._kinds[kind](item)

    def _message(self, item: Fields) -> JsonObject:
        role = item.text("role")
        if role in SYSTEM:
            return reminder([_content(item)])
        if role not in {"user", "assistant"}:
            raise item.wrong(
                "role", f"must be user, assistant, system or developer, not {shown(role)}"
            )
        return {"role": role, **joined(_parts(item, "content", TEXTS), BETWEEN_BLOCKS)}

    def _reasoning(self, item: Fields) -> JsonObject:
        sealed_thought = item.text("encrypted_content") or ""
        thought = (
            _texts(item, "content", THOUGHTS)
            or sealed_thought.removeprefix(OWN_MARK) * sealed_thought.startswith(OWN_MARK)
            or _texts(item, "summary", THOUGHTS)
        )
        if not thought:
            return {}
        return {"role": "assistant", "content": "", "reasoning_content": thought}

    def _function_call(self, item: Fields) -> JsonObject:
        name = known_name(item.required_text("name"), item.text("namespace"))
        text = item.text("arguments") or "{}"
        try:
            arguments = json.loads(text)
        except (ValueError, RecursionError) as error:
            if item.text("status") != "incomplete":  # cut off inside the arguments
                raise item.wrong("arguments", "are not JSON") from error
            arguments = {}
        return self._call(item, name, arguments)

    def _custom_call(self, item: Fields) -> JsonObject:
        name = known_name(item.required_text("name"), item.text("namespace"))
        return self._call(item, name, {INPUT: item.text("input") or ""})

    def _shell_call(self, item: Fields) -> JsonObject:
        action = item.inner("action")
        arguments = {name: action.raw(name) for name in SHELL_ARGUMENTS}
        return self._call(item, SHELL, given(**arguments))

    def _call(self, item: Fields, name: str, arguments: object) -> JsonObject:
        number = item.required_text("call_id")
        self._names[number] = name
        function = {"name": name, "arguments": arguments}
        call = {"type": "function", "id": number, "function": function}
        return {"role": "assistant", "content": "", "tool_calls": [call]}

    def _output(self, item: Fields) -> JsonObject:
        number = item.text("call_id") or item.required_text("id")
        output = joined(_parts(item, "output", TEXTS), BETWEEN_BLOCKS)
        turn = {"role": "tool", **output, "tool_call_id": number}
        return turn | given(name=self._names.get(number))


def _is_system(item: Fields) -> bool:
    return kind_of(item) == "message" and item.text("role") in SYSTEM


def _content(item: Fields) -> str:
    return _texts(item, "content", TEXTS)


def _texts(item: Fields, name: str, kinds: dict[str, str]) -> str:
    """Return the text of a field that is a string or a list of parts."""
    parts = _parts(item, name, kinds)
    texts = [part for part in parts if isinstance(part, str)]
    if len(texts) < len(parts):
        raise item.wrong(name, "may have text only")
    return BETWEEN_BLOCKS.join(texts)


def _parts(item: Fields, name: str, kinds: dict[str, str]) -> list[Part]:
    """Return the texts and media of a field that is a string or a list of parts."""
    value = item.raw(name)
    if value is None or isinstance(value, str):
        return [value or ""]
    return [
        part_of(Fields(part, f"{item.path(name)}[{index}]."), partial(_text, kinds=kinds))
        for index, part in enumerate(item.objects(name))
    ]


def _text(part: Fields, kinds: dict[str, str]) -> str:
    kind = str(part.raw("type"))
    if kind not in kinds:
        raise part.wrong("type", f"is {brief(kind)}, which is not supported here")
    text = part.raw(kinds[kind])
    if not isinstance(text, str):
        raise part.wrong(kinds[kind], "is required")
    return text


def _text_part(text: str, role: object) -> JsonObject:
    if role == "assistant":
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {"type": "input_text", "text": text}
