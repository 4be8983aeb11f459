"""``tools`` and ``tool_choice`` as OpenAI has them.

"auto" | "none" | "required"
{"type": "function", "function": {"name": "weather"}}
{"type": "allowed_tools", "allowed_tools": {"mode": "auto" | "required", "tools": [...]}}
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.server.parsing import limits
from localrun.server.parsing.fields import Fields, shown
from localrun.server.parsing.server_tools import without_server_tools

if TYPE_CHECKING:
    from localrun.server.parsing.fields import JsonObject

MODES = ("auto", "none", "required")


@dataclass(frozen=True, slots=True)
class OfferedTools:
    """What a model may call, and whether it must: see `Generation.tool_choice`."""

    tools: tuple[JsonObject, ...]
    choice: str = "auto"


def offered_tools(fields: Fields) -> OfferedTools:
    """Read both fields.

    Raises:
        UsageError: a call is asked for that no tool of the request can have.
    """
    listed = [Fields(tool, f"tools[{at}].") for at, tool in enumerate(limits.tools(fields))]
    tools = tuple(tool.all() for tool in without_server_tools(listed))
    stated = fields.raw("tool_choice")
    if isinstance(stated, dict):
        offered = _chosen(fields, fields.inner("tool_choice"), tools)
    elif stated in (None, *MODES):
        offered = OfferedTools(tools, stated or "auto")
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
        names = set(map(_name, allowed.objects("tools", most=limits.MOST_TOOLS)))
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
