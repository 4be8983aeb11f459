"""Runtime functions of converted Go templates.

They follow Go's text/template: an error in Go is an error here, and the template then refuses the
conversation.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from localrun.chat.gotemplate.printing import formatted, items, json_text, printed, shown
from localrun.chat.gotemplate.values import (
    Struct,
    TypeNames,
    messages_of,
    system_of,
    tools_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

MAX_COUNT = 100_000
_TYPESCRIPT = {
    "string": "string",
    "number": "number",
    "integer": "number",
    "boolean": "boolean",
    "array": "any[]",
    "object": "Record<string, any>",
    "null": "null",
}


def data(
    messages: Sequence[Mapping[str, object]],
    *,
    tools: Sequence[Mapping[str, object]] | None = None,
    think: bool | None = None,
    think_level: str | None = None,
    suffix: str | None = None,
) -> dict[str, object]:
    """Return the value of ``$``: the whole conversation, or the text around a gap to fill."""
    common = _thinking(think, think_level)
    if suffix:
        return {**common, "Prompt": _last(messages), "Suffix": suffix, "Response": ""}
    return {
        **common,
        "System": system_of(messages),
        "Messages": messages_of(messages),
        "Tools": tools_of(tools),
        "Response": "",
    }


def turns(
    messages: Sequence[Mapping[str, object]],
    *,
    tools: Sequence[Mapping[str, object]] | None = None,  # noqa: ARG001 - the older form has none
    think: bool | None = None,
    think_level: str | None = None,
    suffix: str | None = None,
) -> list[tuple[bool, dict[str, object]]]:
    """Return the value of ``$`` for each turn, with whether the turn is open."""
    common = _thinking(think, think_level)
    if suffix:
        return [(False, data(messages, think=think, think_level=think_level, suffix=suffix))]
    done: list[dict[str, object]] = []
    turn = {"System": "", "Prompt": "", "Response": ""}
    for message in messages_of(messages):
        role, content = str(message.fields["Role"]), str(message.fields["Content"])
        if (role == "system" and (turn["Prompt"] or turn["Response"])) or (
            role == "user" and turn["Response"]
        ):
            done.append({**common, **turn})
            turn = {"System": "", "Prompt": "", "Response": ""}
        if role in _PART_OF_ROLE:
            turn[_PART_OF_ROLE[role]] = content
    return [*((False, earlier) for earlier in done), (True, {**common, **turn})]


def field(value: object, *names: str) -> object:
    """Return ``value.Name.Name``; a missing key of a map gives nil."""
    for name in names:
        if isinstance(value, Struct) and name in value.fields:
            value = value.fields[name]
        elif isinstance(value, dict):
            value = value.get(name)
        else:
            raise ValueError(f"there is no .{name} in {_kind(value)}")
    return value


def over(value: object) -> list[tuple[object, object]]:
    """Return keys and items in the order of ``range``."""
    match value:
        case None:
            return []
        case list():
            return list(enumerate(value))
        case dict():
            return list(items(value))
        case int() if not isinstance(value, bool) and value <= MAX_COUNT:
            return [(number, number) for number in range(value)]
    raise ValueError(f"range cannot go over {_kind(value)}")


def length(value: object) -> int:
    """Return the number of items, or of bytes of a text."""
    if isinstance(value, str):
        return len(value.encode(errors="surrogatepass"))
    if isinstance(value, list | dict):
        return len(value)
    raise ValueError(f"len of {_kind(value)}")


def index(value: object, *keys: object) -> object:
    """Return ``value[key][key]``; a missing key of a map gives nil."""
    for key in keys:
        if isinstance(value, dict) and isinstance(key, str):
            value = value.get(key)
        elif isinstance(value, list | str):
            elements = value.encode(errors="surrogatepass") if isinstance(value, str) else value
            value = elements[_position(key, len(elements) - 1)]
        else:
            raise TypeError(f"index of {_kind(value)} by {_kind(key)}")
    return value


def cut(value: object, *bounds: object) -> object:
    """Return ``value[from:to]``; offsets of a text count bytes."""
    if not isinstance(value, list | str):
        raise TypeError(f"slice of {_kind(value)}")
    row = value.encode(errors="surrogatepass") if isinstance(value, str) else value
    begin, end, *_ = [
        *(_position(bound, len(row)) for bound in bounds),
        *(0, len(row))[len(bounds) :],
    ]
    if begin > end:
        raise ValueError(f"slice from {begin} to {end}")
    part = row[begin:end]
    return part.decode(errors="replace") if isinstance(part, bytes) else part


def equal(first: object, *others: object) -> bool:
    """Return whether the first value equals any of the others; nil equals only nil."""
    return any(_is_equal(first, other) for other in others)


def less(left: object, right: object) -> bool:
    """Return whether ``left`` is less than ``right``: two numbers or two texts."""
    if isinstance(left, str) and isinstance(right, str):
        return left.encode(errors="surrogatepass") < right.encode(errors="surrogatepass")
    if _is_number(left) and _is_number(right):
        return left < right  # type: ignore[operator, no-any-return]
    raise ValueError(f"{_kind(left)} and {_kind(right)} have no order")


def typescript(value: object) -> str:
    """Return the TypeScript type of a tool's property."""
    if not isinstance(value, Struct) or value.kind != "ToolProperty":
        return "any"
    choices, names = value.fields["AnyOf"], value.fields["Type"]
    if isinstance(choices, list) and choices:
        return " | ".join(map(typescript, choices))
    if not isinstance(names, TypeNames) or not names:
        return "any"
    return " | ".join(_TYPESCRIPT.get(str(name), "any") for name in names)


_PART_OF_ROLE = {"system": "System", "user": "Prompt", "assistant": "Response"}


def _thinking(think: bool | None, level: str | None) -> dict[str, object]:  # noqa: FBT001
    """Return the variables for thinking, which is on unless a request turns it off."""
    is_on = think if isinstance(think, bool) else True
    return {"Think": is_on, "ThinkLevel": level or "", "IsThinkSet": True}


def _last(messages: Sequence[Mapping[str, object]]) -> object:
    questions = [part for part in messages_of(messages) if part.fields["Role"] == "user"]
    return questions[-1].fields["Content"] if questions else ""


def _position(key: object, most: int) -> int:
    if isinstance(key, int) and not isinstance(key, bool) and 0 <= key <= most:
        return key
    raise ValueError(f"{shown(key)} is no position from 0 to {most}")


def _is_equal(left: object, right: object) -> bool:
    if left is None or right is None:
        return left is right
    if isinstance(left, str) is not isinstance(right, str):
        raise ValueError(f"eq of {_kind(left)} and {_kind(right)}")
    return left == right


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _kind(value: object) -> str:
    if isinstance(value, Struct):
        return value.kind
    if value is None or isinstance(value, bool):
        return "nil" if value is None else "a truth value"
    kinds: dict[type, str] = {dict: "a map", list: "a list", str: "a text"}
    return next((name for kind, name in kinds.items() if isinstance(value, kind)), "a number")


def _joined(*values: object) -> str:
    """Return the values as Go's Sprint prints them: a space between values that are not text."""
    text = ""
    for position, value in enumerate(values):
        is_apart = position and not isinstance(value, str)
        if is_apart and not isinstance(values[position - 1], str):
            text += " "
        text += shown(value)
    return text


def _format(form: object, *values: object) -> str:
    if not isinstance(form, str):
        raise TypeError(f"printf wants a text first, not {_kind(form)}")
    return formatted(form, values)


def _date(*_: object, days: int = 0) -> str:
    """Return a date; Ollama accepts a format and ignores it."""
    return f"{datetime.now().astimezone() + timedelta(days=days):%Y-%m-%d}"


FUNCTIONS: dict[str, Callable[..., object]] = {
    "go_data": data,
    "go_turns": turns,
    "go_print": printed,
    "go_field": field,
    "go_range": over,
    "go_len": length,
    "go_index": index,
    "go_slice": cut,
    "go_json": json_text,
    "go_eq": equal,
    "go_ne": lambda left, right: not _is_equal(left, right),
    "go_lt": less,
    "go_le": lambda left, right: not less(right, left),
    "go_gt": lambda left, right: less(right, left),
    "go_ge": lambda left, right: not less(left, right),
    "go_print_all": _joined,
    "go_println": lambda *values: " ".join(map(shown, values)) + "\n",
    "go_printf": _format,
    "go_currentDate": lambda *_: _date(),
    "go_yesterdayDate": lambda *_: _date(days=-1),
    "go_toTypeScriptType": typescript,
}
