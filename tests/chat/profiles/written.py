"""Replies with calls, written by what a form says a correct call is made of."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from localrun.chat.profiles.forms import FreeText, Json, Maybe, Pattern, Piece
from localrun.chat.profiles.tools import Tool, Tools
from localrun.chat.stream_parser import Part, StreamParser, Text, Thought
from localrun.chat.tool_calls import CallArguments, ToolCall

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from localrun.chat.profiles.forms import CallForm, Profile

_TYPES = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    list: "array",
    dict: "object",
    type(None): "null",
}


def tool_for(call: ToolCall) -> Tool:
    """Return a tool that wants exactly a call's arguments."""
    properties = {key: {"type": _TYPES[type(value)]} for key, value in call.arguments.items()}
    return Tool(
        call.name, {"type": "object", "properties": properties, "required": list(properties)}
    )


def tools_for(calls: Sequence[ToolCall]) -> Tools:
    return Tools({call.name: tool_for(call) for call in calls})


def written(form: CallForm, calls: Sequence[ToolCall]) -> str:
    frame = form.frame
    return frame.opening + frame.separator.join(_call(form, call) for call in calls) + frame.closing


def parse(
    pieces: Sequence[str], profile: Profile, *, tail: str = "", tools: Tools | None = None
) -> list[Part]:
    parser = StreamParser(profile, tail, tools)
    parts = [part for piece in pieces for part in parser.push(piece)]
    return joined(parts + parser.finish())


def joined(parts: Sequence[Part]) -> list[Part]:
    """Join neighbours of one kind."""
    result: list[Part] = []
    for part in parts:
        last = result[-1] if result else None
        if isinstance(part, Text) and isinstance(last, Text):
            result[-1] = Text(last.text + part.text)
        elif isinstance(part, Thought) and isinstance(last, Thought):
            result[-1] = Thought(last.text + part.text)
        elif isinstance(part, CallArguments) and isinstance(last, CallArguments):
            result[-1] = CallArguments(last.text + part.text, part.is_last)
        else:
            result.append(part)
    return result


def cut(text: str, sizes: Sequence[int]) -> list[str]:
    pieces = []
    for size in sizes:
        pieces.append(text[:size])
        text = text[size:]
    return [*pieces, text]


def _call(form: CallForm, call: ToolCall) -> str:
    pieces = form.pieces(tool_for(call))
    slots = [piece for piece in pieces if isinstance(piece, Json | FreeText)]
    is_whole = len(slots) == 1 and isinstance(slots[0], Json) and "properties" in slots[0].schema
    values = iter([call.arguments] if is_whole else call.arguments.values())
    return "".join(_texts(pieces, values))


def _texts(pieces: Sequence[Piece], values: Iterator[Any]) -> Iterator[str]:
    for piece in pieces:
        match piece:
            case str():
                yield piece
            case Json():
                yield json.dumps(next(values), ensure_ascii=False)
            case FreeText(closing):
                yield f"{next(values)}{closing}"
            case Pattern(regex):
                yield "123456789" if "9}" in regex else "0"
            case Maybe():
                raise AssertionError("every argument is required here")
