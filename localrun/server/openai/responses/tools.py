"""Tools of all kinds as functions, which is all that models know.

    function       itself
    custom         a function with one text; called, it is a custom_tool_call
    local_shell    a function with a command; called, it is a local_shell_call
    namespace      its tools, each by the name NAMESPACE__NAME
    web_search...  server tools: left out of the tools that the response names
    others         refused

The grammar of a custom tool is told to the model, but not enforced.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from localrun.server.openai.tools import offered_tools
from localrun.server.parsing.fields import Fields, brief
from localrun.server.parsing.limits import MOST_TOOLS
from localrun.server.parsing.server_tools import without_server_tools

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localrun.server.parsing.fields import JsonObject

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


class ToolKind(StrEnum):
    """What a call of a tool is told as."""

    FUNCTION = "function"
    CUSTOM = "custom"
    SHELL = SHELL


@dataclass(frozen=True, slots=True)
class ResponsesTool:
    """A tool as the client knows it."""

    name: str
    kind: ToolKind = ToolKind.FUNCTION
    namespace: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSet:
    """The tools of a request; ``by_name`` has the names that the model knows."""

    functions: tuple[JsonObject, ...] = ()
    choice: str = "auto"  # see `Generation.tool_choice`
    told: tuple[JsonObject, ...] = ()  # in the response
    by_name: dict[str, ResponsesTool] = field(default_factory=dict)

    def called(self, name: str) -> ResponsesTool:
        """Return the tool that a model calls; models may make up names."""
        return self.by_name.get(name) or ResponsesTool(name)


def read_tools(fields: Fields) -> ToolSet:
    """Read ``tools`` and ``tool_choice``.

    Raises:
        UsageError: a tool cannot be offered, or a call is asked for that none can have.
    """
    tools = [
        Fields(tool, f"tools[{place}].")
        for place, tool in enumerate(fields.objects("tools", most=MOST_TOOLS))
    ]
    kept = without_server_tools(tools)
    found = [one for tool in kept for one in _functions(tool)]
    functions = [function for _, function in found]
    choice = _choice(fields)
    offered = offered_tools(Fields({"tools": functions, "tool_choice": choice}))
    return ToolSet(
        functions=offered.tools,
        choice=offered.choice,
        told=tuple(_told(tool) for tool in kept),
        by_name={function["function"]["name"]: tool for tool, function in found},
    )


def known_name(name: str, namespace: str | None) -> str:
    """Return the name by which a model knows a tool."""
    return f"{namespace}{BETWEEN_NAMES}{name}" if namespace else name


def _functions(
    fields: Fields, namespace: str | None = None
) -> Iterator[tuple[ResponsesTool, JsonObject]]:
    kind = fields.text("type")
    if kind == "namespace" and namespace is None:
        for place, inner in enumerate(fields.objects("tools", most=MOST_TOOLS)):
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
    """Return ``tool_choice`` with every tool as a function."""
    choice = fields.raw("tool_choice")
    if not isinstance(choice, dict) or choice.get("type") == "allowed_tools":
        return choice
    stated = fields.inner("tool_choice")
    kind = stated.text("type")
    if kind not in CHOSEN:
        raise stated.wrong("type", f"must be allowed_tools or one of {', '.join(CHOSEN)}")
    name = SHELL if kind == SHELL else stated.required_text("name")
    return {"type": "function", "name": known_name(name, stated.text("namespace"))}


def _told(tool: Fields) -> JsonObject:
    """Return a tool as responses repeat it, where a function has all its fields."""
    if tool.text("type") != ToolKind.FUNCTION:
        return tool.all()
    return {"description": None, "parameters": None, "strict": None, **tool.all()}
