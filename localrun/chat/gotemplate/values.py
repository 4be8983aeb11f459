"""Data of a Go template: a conversation as Ollama's structs.

Go's structs have fixed fields: an unknown field is an error, and JSON has the fields in their
order. Keys of a tool's schema that Ollama's structs lack follow them; Ollama drops these keys.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    JsonObject = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Struct:
    """A value with fields, which is always true; ``json`` is its JSON object."""

    kind: str
    fields: dict[str, object]
    json: dict[str, object]


class JsonDict(dict[str, object]):
    """A map that prints as JSON."""


class JsonList(list[object]):
    """A list that prints as JSON."""


class TypeNames(list[object]):
    """The types of a property: a single one prints without brackets."""


def messages_of(messages: Iterable[JsonObject]) -> list[Struct]:
    """Return the messages, with adjacent ones of one role merged."""
    merged: list[dict[str, object]] = []
    texts: list[list[str]] = []  # of each, to be joined once
    for message in messages:
        content, role = _text(message.get("content")), message.get("role")
        if merged and merged[-1].get("role") == role and role != "tool":
            texts[-1].append(content)
        else:
            merged.append({**message})
            texts.append([content])
    for message, parts in zip(merged, texts, strict=True):
        message["content"] = "\n\n".join(parts)
    names = _call_names(merged)
    return [_message(message, names) for message in merged]


def system_of(messages: Iterable[JsonObject]) -> str:
    """Return all system messages as one text."""
    return "\n\n".join(
        _text(message.get("content")) for message in messages if message.get("role") == "system"
    )


def tools_of(tools: Sequence[JsonObject] | None) -> JsonList:
    """Return the tools as structs."""
    return JsonList(_tool(tool) for tool in tools or ())


def _text(content: object) -> str:
    if isinstance(content, list):
        parts = (part.get("text") for part in content if isinstance(part, dict))
        return "\n".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else ""


def _call_names(messages: Iterable[JsonObject]) -> dict[object, object]:
    """Return the tool of each call by the call's id, which is all that a result has."""
    calls = (call for message in messages for call in _objects(message.get("tool_calls")))
    return {call.get("id"): _object(call.get("function")).get("name") for call in calls}


def _message(message: JsonObject, names: Mapping[object, object]) -> Struct:
    thinking = message.get("reasoning_content") or message.get("thinking")
    called = names.get(message.get("tool_call_id")) if message.get("tool_call_id") else None
    fields = {
        "Role": _text(message.get("role")),
        "Content": message["content"],
        "Thinking": _text(thinking),
        "Images": [],
        "ToolCalls": [_tool_call(call) for call in _objects(message.get("tool_calls"))],
        "ToolName": _text(message.get("tool_name") or message.get("name") or called),
        "ToolCallID": _text(message.get("tool_call_id")),
    }
    names_in_json = {
        "Thinking": "thinking",
        "ToolCalls": "tool_calls",
        "ToolName": "tool_name",
        "ToolCallID": "tool_call_id",
    }
    shown = {name: fields[key] for key, name in names_in_json.items() if fields[key]}
    return Struct(
        "Message", fields, {"role": fields["Role"], "content": fields["Content"], **shown}
    )


def _tool_call(call: JsonObject) -> Struct:
    function = _object(call.get("function"))
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        arguments = json.loads(arguments or "{}")
    fields = {
        "Index": call.get("index") or 0,
        "Name": _text(function.get("name")),
        "Arguments": JsonDict(_object(arguments)),
    }
    called = Struct(
        "ToolCallFunction", fields, {"name": fields["Name"], "arguments": fields["Arguments"]}
    )
    shown = {"id": call["id"]} if call.get("id") else {}
    outer = {"ID": _text(call.get("id")), "Function": called}
    return Struct("ToolCall", outer, {**shown, "function": called})


def _tool(tool: JsonObject) -> Struct:
    function = _object(tool.get("function"))
    fields = {
        "Type": _text(tool.get("type")),
        "Items": tool.get("items"),
        "Function": _function(function),
    }
    known = {"type": fields["Type"], **_present(tool, "items"), "function": fields["Function"]}
    return Struct("Tool", fields, known | _rest(tool, known))


def _function(function: JsonObject) -> Struct:
    fields = {
        "Name": _text(function.get("name")),
        "Description": _text(function.get("description")),
        "Parameters": _parameters(_object(function.get("parameters"))),
    }
    known = {
        "name": fields["Name"],
        "description": fields["Description"],
        "parameters": fields["Parameters"],
    }
    return Struct("ToolFunction", fields, known | _rest(function, known))


def _parameters(schema: JsonObject) -> Struct:
    properties = _object(schema.get("properties"))
    fields = {
        "Type": _text(schema.get("type")),
        "Defs": schema.get("$defs"),
        "Items": schema.get("items"),
        "Required": schema.get("required") or [],
        "Properties": JsonDict({name: _property(part) for name, part in properties.items()}),
    }
    known: dict[str, object] = {
        "type": fields["Type"],
        **_present(schema, "$defs", "items", "required"),
        "properties": fields["Properties"],
    }
    return Struct("ToolFunctionParameters", fields, known | _rest(schema, known))


def _property(raw: object) -> Struct:
    schema = _object(raw)
    kind = schema.get("type")
    names = TypeNames(kind if isinstance(kind, list) else [kind] if kind else [])
    any_of = [_property(part) for part in _objects(schema.get("anyOf"))]
    inner: dict[str, object] = {
        name: _property(part) for name, part in _object(schema.get("properties")).items()
    }
    fields = {
        "AnyOf": any_of,
        "Type": names,
        "Items": schema.get("items"),
        "Description": _text(schema.get("description")),
        "Enum": schema.get("enum") or [],
        "Properties": inner or None,
        "Required": schema.get("required") or [],
    }
    known = {
        **({"anyOf": any_of} if any_of else {}),
        **({"type": names} if names else {}),
        **_present(schema, "items", "description", "enum"),
        **({"properties": Struct("Properties", inner, inner)} if inner else {}),
        **_present(schema, "required"),
    }
    return Struct("ToolProperty", fields, known | _rest(schema, known))


def _present(source: JsonObject, *names: str) -> dict[str, object]:
    return {name: source[name] for name in names if source.get(name)}


def _rest(source: JsonObject, known: JsonObject) -> dict[str, object]:
    return {name: value for name, value in source.items() if name not in known}


def _object(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _objects(value: object) -> list[dict[str, object]]:
    return [part for part in value if isinstance(part, dict)] if isinstance(value, list) else []
