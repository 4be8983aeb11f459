"""Tools of the Responses API, translated to functions, the only kind that models know.

    function       itself
    custom         a function with one text; called, it is a custom_tool_call
    local_shell    a function with a command; called, it is a local_shell_call
    namespace      its tools, each by the name NAMESPACE__NAME
    web_search...  server tools: left out of the tools that the response names
    others         refused

The grammar of a custom tool is part of its description and is not enforced.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from localrun.server.openai.tools import TOOLS as OPENAI_TOOLS
from localrun.server.openai.tools import offered_tools
from localrun.server.parsing.fields import Fields, brief
from localrun.server.parsing.json_schema import OBJECT, either, one_of
from localrun.server.parsing.limits import MAX_TOOLS
from localrun.server.parsing.table import Table, objects, raw
from localrun.server.parsing.tools import client_tools

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localrun.runner.messages import JsonObject
    from localrun.server.parsing.table import Values

BETWEEN_NAMES = "__"
SHELL = "local_shell"
INPUT = "input"  # the one argument of a custom tool
CUSTOM_SCHEMA = {"type": "object", "properties": {INPUT: {"type": "string"}}, "required": [INPUT]}
SHELL_SCHEMA = {
    "type": "object",
    "properties": {
        "command": {
            "type": "array",
            "items": {"type": "string"},
            "description": "The program and its arguments",
        },
        "working_directory": {"type": "string"},
        "timeout_ms": {"type": "integer"},
    },
    "required": ["command"],
}
CHOSEN = ("function", "custom", SHELL)
_TOOLS = objects("tools", most=MAX_TOOLS)
_TOOL_CHOICE = raw("tool_choice", either(one_of("none", "auto", "required"), OBJECT))
TOOLS = Table((_TOOLS, _TOOL_CHOICE))


class ToolKind(StrEnum):
    """Type of the item that reports a call."""

    FUNCTION = "function"
    CUSTOM = "custom"
    SHELL = SHELL


@dataclass(frozen=True, slots=True)
class ResponsesTool:
    """A tool under its name in the request."""

    name: str
    kind: ToolKind = ToolKind.FUNCTION
    namespace: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSet:
    """The tools of a request; ``by_name`` has the names of the functions."""

    functions: tuple[JsonObject, ...] = ()
    choice: str = "auto"  # see `Generation.tool_choice`
    reported: tuple[JsonObject, ...] = ()  # in the response
    by_name: dict[str, ResponsesTool] = field(default_factory=dict)

    def called(self, name: str) -> ResponsesTool:
        """Return the tool that the model calls; models may invent names."""
        return self.by_name.get(name) or ResponsesTool(name)


def read_tools(values: Values) -> ToolSet:
    """Return the tools of a request with the rows of `TOOLS`.

    Raises:
        UsageError: a tool is not supported, or the choice requires a call that no tool allows.
    """
    kept = client_tools(values[_TOOLS])
    pairs = [pair for tool in kept for pair in _functions(tool)]
    functions = [function for _, function in pairs]
    choice = _choice(values.fields)
    offered = offered_tools(OPENAI_TOOLS.read(Fields({"tools": functions, "tool_choice": choice})))
    return ToolSet(
        functions=offered.tools,
        choice=offered.choice,
        reported=tuple(_reported(tool) for tool in kept),
        by_name={function["function"]["name"]: tool for tool, function in pairs},
    )


def known_name(name: str, namespace: str | None) -> str:
    """Return the name of a tool's function."""
    return f"{namespace}{BETWEEN_NAMES}{name}" if namespace else name


def _functions(
    fields: Fields, namespace: str | None = None
) -> Iterator[tuple[ResponsesTool, JsonObject]]:
    kind = fields.text("type")
    if kind == "namespace" and namespace is None:
        for place, inner in enumerate(fields.objects("tools", most=MAX_TOOLS)):
            path = fields.path(f"tools[{place}].")
            yield from _functions(Fields(inner, path), fields.required_text("name"))
        return
    if kind not in list(ToolKind):
        raise fields.wrong("type", f"is {brief(kind)}, a tool that is not supported here")
    tool = ResponsesTool(
        SHELL if kind == SHELL else fields.required_text("name"), ToolKind(str(kind)), namespace
    )
    function: JsonObject = {"name": known_name(tool.name, namespace)}
    description = _description(fields, tool.kind)
    if description:
        function["description"] = description
    yield tool, {"type": "function", "function": function | {"parameters": _schema(fields, tool)}}


def _schema(fields: Fields, tool: ResponsesTool) -> JsonObject:
    if tool.kind is ToolKind.CUSTOM:
        return CUSTOM_SCHEMA
    if tool.kind is ToolKind.SHELL:
        return SHELL_SCHEMA
    return fields.inner("parameters").all() or {"type": "object", "properties": {}}


def _description(fields: Fields, kind: ToolKind) -> str:
    if kind is ToolKind.SHELL:
        return "Runs a command on the user's machine and returns what it writes."
    description, form = fields.text("description") or "", fields.inner("format")
    if kind is ToolKind.CUSTOM and form.text("type") == "grammar":
        syntax, grammar = form.text("syntax") or "", form.required_text("definition")
        description += f"\n\nThe input is written in this {syntax} grammar:\n{grammar}"
    return description.strip()


def _choice(fields: Fields) -> object:
    """Return ``tool_choice`` in terms of functions."""
    choice = fields.raw("tool_choice")
    if not isinstance(choice, dict) or choice.get("type") == "allowed_tools":
        return choice
    named = fields.inner("tool_choice")
    kind = named.text("type")
    if kind not in CHOSEN:
        raise named.wrong("type", f"must be allowed_tools or one of {', '.join(CHOSEN)}")
    name = SHELL if kind == SHELL else named.required_text("name")
    return {"type": "function", "name": known_name(name, named.text("namespace"))}


def _reported(tool: Fields) -> JsonObject:
    """Return a tool for the response, in which a function has all its fields."""
    if tool.text("type") != ToolKind.FUNCTION:
        return tool.all()
    return {"description": None, "parameters": None, "strict": None, **tool.all()}
