"""``tools`` and ``tool_choice`` of OpenAI's requests.

"auto" | "none" | "required"
{"type": "function", "function": {"name": "weather"}}
{"type": "allowed_tools", "allowed_tools": {"mode": "auto" | "required", "tools": [...]}}
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.server.parsing.fields import shown
from localrun.server.parsing.json_schema import OBJECT, TEXT, either, listed, one_of, record
from localrun.server.parsing.limits import MAX_TOOLS
from localrun.server.parsing.table import Field, Table, raw
from localrun.server.parsing.tools import client_tools, tool_list

if TYPE_CHECKING:
    from localrun.runner.messages import JsonObject
    from localrun.server.parsing.fields import Fields
    from localrun.server.parsing.table import Values

MODES = ("auto", "none", "required")
_FUNCTION = record({"type": one_of("function"), "function": record({"name": TEXT})})
_TOOLS = Field("tools", tool_list, listed(OBJECT))
_TOOL_CHOICE = raw("tool_choice", either(one_of("none", "auto", "required"), _FUNCTION, OBJECT))
TOOLS = Table((_TOOLS, _TOOL_CHOICE))


@dataclass(frozen=True, slots=True)
class OfferedTools:
    """The tools that a model may call, and `Generation.tool_choice`."""

    tools: tuple[JsonObject, ...]
    choice: str = "auto"


def offered_tools(values: Values) -> OfferedTools:
    """Return the tools of a request with the rows of `TOOLS`.

    Raises:
        UsageError: the choice is malformed, or requires a call that no tool allows.
    """
    fields, choice = values.fields, values[_TOOL_CHOICE]
    tools = tuple(tool.all() for tool in client_tools(values[_TOOLS]))
    if isinstance(choice, dict):
        offered = _chosen(fields, fields.inner("tool_choice"), tools)
    elif choice in (None, *MODES):
        offered = OfferedTools(tools, choice or "auto")
    else:
        raise fields.wrong("tool_choice", f"must be an object or one of {', '.join(MODES)}")
    if offered.choice not in {"auto", "none"} and not offered.tools:
        raise fields.wrong("tool_choice", "requires a call, but there are no tools")
    return offered


def _chosen(fields: Fields, choice: Fields, tools: tuple[JsonObject, ...]) -> OfferedTools:
    kind = choice.text("type")
    if kind == "allowed_tools":
        allowed = choice if choice.raw("allowed_tools") is None else choice.inner("allowed_tools")
        mode = allowed.text("mode") or "auto"
        if mode not in MODES:
            raise allowed.wrong("mode", f"must be one of {', '.join(MODES)}")
        names = set(map(_name, allowed.objects("tools", most=MAX_TOOLS)))
        return OfferedTools(tuple(tool for tool in tools if _name(tool) in names), mode)
    if kind != "function":
        raise choice.wrong("type", "must be function or allowed_tools")
    function = choice if choice.raw("function") is None else choice.inner("function")
    name = function.required_text("name")
    if name in MODES:
        raise function.wrong("name", f"cannot be {name}, which means something else here")
    if name not in map(_name, tools):
        raise fields.wrong(
            "tool_choice", f"names the tool {shown(name)}, which is not among the tools"
        )
    return OfferedTools(tools, name)


def _name(tool: JsonObject) -> str | None:
    function = tool.get("function")
    name = (function if isinstance(function, dict) else tool).get("name")
    return name if isinstance(name, str) else None
