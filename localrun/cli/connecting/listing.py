"""List of the tools that localrun knows, with how their settings were checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.integrations.registry import TOOLS

if TYPE_CHECKING:
    from localrun.cli.output import Output
    from localrun.integrations.tool import Integration

HEADS = ("NAME", "TOOL", "SETTINGS", "LAUNCH", "CHECKED")


def list_tools(output: Output) -> None:
    """Print all tools by name."""
    tools = sorted(TOOLS.values(), key=lambda tool: tool.name)
    if output.as_json:
        output.json([_as_json(tool) for tool in tools])
        return
    output.table(HEADS, [_row(tool) for tool in tools])
    output.note("localrun connect NAME   prints its settings; localrun launch NAME   starts it")


def checked(tool: Integration) -> str:
    """Return how the settings of a tool were checked."""
    return f"started {tool.checked}" if tool.is_started else f"not started: {tool.checked}"


def settings_kind(tool: Integration) -> str:
    """Return where a tool keeps its settings."""
    if tool.settings is not None:
        return "file"
    return "variables" if tool.environment is not None else "by hand"


def _row(tool: Integration) -> tuple[str, ...]:
    launches = "yes" if tool.launch is not None else "-"
    return tool.name, tool.title, settings_kind(tool), launches, checked(tool)


def _as_json(tool: Integration) -> dict[str, object]:
    return {
        "name": tool.name,
        "title": tool.title,
        "settings": settings_kind(tool),
        "launches": tool.launch is not None,
        "roles": [role.value for role in tool.roles],
        "context": tool.context,
        "calls_tools": tool.needs_tools,
        "checked": tool.checked,
        "is_started": tool.is_started,
    }
