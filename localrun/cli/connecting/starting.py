"""Start of a tool: model, server, load, program, in this order; then the tool has the terminal."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from localrun.cli.connecting.choosing import AgentModel, choose_agent_model
from localrun.cli.connecting.installing import find_program
from localrun.cli.connecting.running import run_tool
from localrun.cli.connecting.writing import write_connection
from localrun.cli.output import Output
from localrun.cli.serving.answer import interruptible, load_status
from localrun.client.launch import ensure_server
from localrun.errors import UsageError
from localrun.integrations.files import read_content, replace_content
from localrun.integrations.target import KEY_VARIABLE, NO_KEY, RoleModel, Target
from localrun.integrations.tool import KEY, OWN_FOLDER
from localrun.private import make_private_folder
from localrun.services.connecting.connection import (
    ToolConnection,
    places_of,
    server_url,
)
from localrun.services.connecting.remembered import connections_folder, remember_model
from localrun.services.connecting.served import LATEST, find_served, served_models
from localrun.services.workspace import open_workspace

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from localrun.client.api import LocalrunClient
    from localrun.integrations.tool import Integration, Launch
    from localrun.services.workspace import Workspace
    from localrun.settings import Settings

LARGEST_FILE = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchOptions:
    """What the user wants of a launch."""

    arguments: tuple[str, ...] = ()
    model: str | None = None
    num_ctx: int | None = None
    is_sure: bool = False
    is_dry: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCommand:
    """The command of a tool, and what its environment has besides ours."""

    words: tuple[str, ...]
    environment: Mapping[str, str]
    unset: tuple[str, ...] = ()

    def environ(self, base: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of the tool."""
        kept = {name: value for name, value in base.items() if name not in self.unset}
        return kept | dict(self.environment)


def launch_tool(tool: Integration, options: LaunchOptions) -> int:
    """Start a tool on a model, and return its exit code.

    Raises:
        UsageError: the tool cannot be started, or the user declines something.
        ModelNotFoundError: there is no model for it.
        LocalrunError: the model does not load.
    """
    if tool.launch is None:
        raise UsageError(
            f"localrun cannot start {tool.title}",
            hint=f"localrun connect {tool.name}   prints its settings",
        )
    output = Output()
    workspace = open_workspace(os.environ)
    program = tool.program if options.is_dry else find_program(tool, output, options.is_sure)
    with interruptible():
        client = ensure_server(workspace.settings)
        chosen = choose_agent_model(tool, client, workspace, options)
        loaded = _planned(chosen) if options.is_dry else _load(client, chosen, output)
    connection = _connection(tool, loaded, chosen, workspace)
    if not options.is_dry:
        remember_model(tool.name, loaded.name)
    if tool.launch_needs_settings and not options.is_dry:
        write_connection(connection, output, is_sure=options.is_sure)
    command = _command(tool, program, connection.target, options, workspace.settings)
    if options.is_dry:
        _print_command(command, output)
        return 0
    output.aside(f"{tool.title} on {loaded.name} with a context of {loaded.context} tokens")
    return run_tool(command.words, command.environ(os.environ), workspace.settings, chosen)


def _load(client: LocalrunClient, chosen: AgentModel, output: Output) -> RoleModel:
    """Load the model with its context; return it with the context that it got."""
    name = chosen.model.name
    try:
        for frame in client.load(chosen.load_body()):
            output.status("" if frame["done"] else load_status(frame, name))
    finally:
        output.status("")
    context = find_served(served_models(client), name).loaded_context or chosen.num_ctx
    return replace(_planned(chosen), context=context)


def _planned(chosen: AgentModel) -> RoleModel:
    """Return the model with the context that it is loaded with."""
    return RoleModel(
        name=chosen.model.name.removesuffix(LATEST),
        context=chosen.num_ctx,
        capabilities=chosen.model.capabilities,
    )


def _connection(
    tool: Integration, loaded: RoleModel, chosen: AgentModel, workspace: Workspace
) -> ToolConnection:
    target = Target(
        url=server_url(workspace.settings),
        chat=loaded,
        edit=loaded,
        needs_key=workspace.settings.access.has_key,
    )
    return ToolConnection(tool=tool, target=target, chat=chosen.model, places=places_of(workspace))


def _command(
    tool: Integration, program: str, target: Target, options: LaunchOptions, settings: Settings
) -> ToolCommand:
    """Return the command of a tool; writes the files of our own that it names."""
    if tool.launch is None:
        raise TypeError("checked by the caller")
    launch = tool.launch(target)
    folder = connections_folder() / tool.name
    if launch.files and not options.is_dry:
        _write_own_files(launch, folder)
    key = settings.access.api_key or NO_KEY
    environment = {
        name: key if value == KEY else value.replace(OWN_FOLDER, str(folder))
        for name, value in launch.environment.items()
    }
    if settings.access.api_key is not None:
        environment[KEY_VARIABLE] = key
    own = tuple(word.replace(OWN_FOLDER, str(folder)) for word in launch.arguments)
    return ToolCommand(
        words=(program, *own, *options.arguments), environment=environment, unset=launch.unset
    )


def _write_own_files(launch: Launch, folder: Path) -> None:
    make_private_folder(folder)
    for name, text in launch.files.items():
        before = read_content(folder / name, LARGEST_FILE)
        if before.data != text.encode():
            replace_content(before, text.encode())


def _print_command(command: ToolCommand, output: Output) -> None:
    for name, value in command.environment.items():
        is_key = name == KEY_VARIABLE or value == os.environ.get(KEY_VARIABLE)
        output.line(f"{name}={'...' if is_key else shlex.quote(value)}")
    for name in command.unset:
        output.line(f"unset {name}")
    output.line(shlex.join(command.words))
    sys.stdout.flush()
