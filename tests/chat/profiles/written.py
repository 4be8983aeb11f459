"""Replies with calls, written by what a form says a correct call is made of."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from localrun.chat.profiles.formats.gemma_calls import GemmaCalls
from localrun.chat.profiles.formats.pieces import Json, OneOf, Pattern, Piece
from localrun.chat.profiles.formats.python_calls import PythonCalls
from localrun.chat.profiles.formats.tagged_calls import TaggedCalls
from localrun.chat.profiles.tools import Tool, Tools
from localrun.chat.stream_parser import Part, ReasoningPart, StreamParser, TextPart
from localrun.chat.tool_calls import CallArguments, ToolCall

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.chat.profiles.formats.format import ToolCallFormat
    from localrun.chat.profiles.profile import Profile

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


def written(form: ToolCallFormat, calls: Sequence[ToolCall]) -> str:
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
        if isinstance(part, TextPart) and isinstance(last, TextPart):
            result[-1] = TextPart(last.text + part.text)
        elif isinstance(part, ReasoningPart) and isinstance(last, ReasoningPart):
            result[-1] = ReasoningPart(last.text + part.text)
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


def _call(form: ToolCallFormat, call: ToolCall) -> str:
    if isinstance(form, PythonCalls):
        return f"{call.name}({', '.join(f'{k}={_python(v)}' for k, v in call.arguments.items())})"
    if isinstance(form, GemmaCalls):
        members = ",".join(f"{key}:{_gemma(value)}" for key, value in call.arguments.items())
        return f"{form.opening}call:{call.name}{{{members}}}{form.closing}"
    if isinstance(form, TaggedCalls):
        parameters = "".join(_tagged(form, *member) for member in call.arguments.items())
        return _filled(form.before_name + call.name + form.after_name) + parameters + form.closing
    return "".join(_text(piece, call) for piece in form.pieces(tool_for(call)))


def _text(piece: Piece, call: ToolCall) -> str:
    match piece:
        case str():
            return piece
        case Json():
            return json.dumps(call.arguments, ensure_ascii=False)
        case Pattern(regex):
            return "0" if "[0-9]" in regex else "123456789"
        case OneOf(options):
            return "".join(_text(one, call) for one in options[0])
    raise AssertionError(piece)


def _tagged(form: TaggedCalls, key: str, value: Any) -> str:
    is_text = isinstance(value, str)
    kind = "boolean" if isinstance(value, bool) else "number"
    after = form.after_key if is_text else form.after_json.replace("{type}", kind)
    pad = "\n" if form.is_padded else ""
    text = value if is_text else json.dumps(value)
    end = form.value_end.replace("{key}", key)
    return f"{form.before_key}{key}{after or form.after_key}{pad}{text}{pad}{end}"


def _filled(tag: str) -> str:
    return tag.replace("{index}", "0").replace("{id}", "123456789")


def _python(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def _gemma(value: Any) -> str:
    return f'<|"|>{value}<|"|>' if isinstance(value, str) else json.dumps(value)
