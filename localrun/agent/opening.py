"""Opening of the tools that a configuration names: servers, sandbox and skills of one chat."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from localrun.agent.configuration import ToolAccess
from localrun.agent.skills import Skill, find_skills, skill_tool
from localrun.agent.toolbox import AgentTool, Toolbox
from localrun.agent.tools.calculator import calculator_tool
from localrun.agent.tools.editing import FileEditor
from localrun.agent.tools.folder import WorkFolder
from localrun.agent.tools.reading import reading_tools
from localrun.agent.tools.sandbox import find_sandbox
from localrun.agent.tools.shell import CommandTool
from localrun.folders import config_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from localrun.agent.configuration import ToolConfiguration


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenTools:
    """Tools of a chat; ``sandbox`` is a sentence about commands, "" if there are none."""

    toolbox: Toolbox
    skills: tuple[Skill, ...] = ()
    sandbox: str = ""
    notes: tuple[str, ...] = field(default=())  # what is missing, and why


def open_tools(
    configuration: ToolConfiguration,
    environ: Mapping[str, str],
    report: Callable[[str], None] = lambda _: None,
) -> OpenTools:
    """Start the servers of a configuration and return all tools; blocks until they answer.

    ``report`` gets a line before each step that takes time. KeyboardInterrupt passes through
    after the servers have ended.

    Raises:
        UsageError: commands cannot be run on this system.
    """
    tools, editor, sandbox = _own_tools(configuration, environ)
    own = config_folder() / "skills"
    project = configuration.folder if configuration.access else None
    home = Path(environ["HOME"]) if environ.get("HOME") else Path.home()
    skills = find_skills(project, home, own)
    if skills:
        tools.append(skill_tool(skills))
    box = Toolbox(tools, undo_edit=editor.undo if editor is not None else lambda: None)
    notes: list[str] = []
    if configuration.servers:
        _connect(box, configuration, environ, report, notes)
    return OpenTools(toolbox=box, skills=tuple(skills), sandbox=sandbox, notes=tuple(notes))


def _own_tools(
    configuration: ToolConfiguration, environ: Mapping[str, str]
) -> tuple[list[AgentTool], FileEditor | None, str]:
    access, root = configuration.access, configuration.folder
    if access is ToolAccess.NONE:
        return [], None, ""
    folder = WorkFolder(root)
    tools = [*reading_tools(folder), calculator_tool()]
    if access < ToolAccess.WRITE:
        return tools, None, ""
    editor = FileEditor(folder)
    tools += editor.tools()
    if access < ToolAccess.SHELL:
        return tools, editor, ""
    sandbox = find_sandbox(root, environ)
    return [*tools, CommandTool(root, sandbox, environ).tool()], editor, sandbox.about


def _connect(
    box: Toolbox,
    configuration: ToolConfiguration,
    environ: Mapping[str, str],
    report: Callable[[str], None],
    notes: list[str],
) -> None:
    from localrun.agent.mcp.client import McpClient

    names = ", ".join(server.name for server in configuration.servers)
    report(f"connecting to MCP: {names}")
    client = McpClient()
    box.closers = (client.close,)
    try:
        foreign = client.connect(configuration.servers, environ, notes.append)
    except BaseException:
        client.close()
        raise
    used = {tool.name for tool in box.tools}
    box.tools = [*box.tools, *(tool for tool in foreign if tool.name not in used)]
