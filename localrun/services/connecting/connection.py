"""A tool and a server: the target, the planned files, and what stands in the way."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.integrations.changes import UndoLog, planned_changes
from localrun.integrations.places import Places
from localrun.integrations.target import KEY_VARIABLE, ModelRole, Target
from localrun.services.connecting.choice import choose_models
from localrun.services.connecting.remembered import connections_folder, remembered_model
from localrun.services.connecting.served import ContextPlanner, served_models

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from localrun.client.api import LocalrunClient
    from localrun.integrations.changes import Change
    from localrun.integrations.tool import FileSettings, Integration
    from localrun.services.connecting.served import ServedModel
    from localrun.services.workspace import Workspace
    from localrun.settings import Settings

ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - no address to connect to
SUGGESTED_MODEL = "qwen3:8b"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolConnection:
    """A tool that is, or would be, connected to a target."""

    tool: Integration
    target: Target
    chat: ServedModel
    places: Places

    def settings(self) -> tuple[FileSettings, ...]:
        """Return the edits of the tool's files; empty for a tool without files."""
        return self.tool.settings(self.target, self.places) if self.tool.settings else ()

    def changes(self) -> list[Change]:
        """Return the changes of the tool's files.

        Raises:
            UsageError: a file is malformed or has another form.
        """
        return planned_changes(self.settings())

    def problems(self) -> list[ConnectionProblem]:
        """Return what keeps the model from serving the tool well."""
        tool, model = self.tool, self.target.chat
        problems = []
        if tool.needs_tools and not model.calls_tools:
            problems.append(
                ConnectionProblem(
                    f"{model.name} does not call tools, which {tool.title} needs",
                    f"localrun pull {SUGGESTED_MODEL}",
                )
            )
        if model.context < tool.context:
            problems.append(self._short_context())
        return problems

    def _short_context(self) -> ConnectionProblem:
        tool, model = self.tool, self.target.chat
        text = f"{model.name} gets a context of {model.context} tokens, and {tool.title} needs "
        if self.chat.trained_context < tool.context:
            return ConnectionProblem(f"{text}{tool.context}", f"localrun pull {SUGGESTED_MODEL}")
        recipe = f"printf 'FROM {model.name}\\nPARAMETER num_ctx {tool.context}\\n' > Modelfile"
        name = f"{model.name.replace(':', '-').rpartition('/')[2]}-long"
        return ConnectionProblem(f"{text}{tool.context}", f"{recipe} && localrun create {name}")


@dataclass(frozen=True, slots=True)
class ConnectionProblem:
    """A sentence for the user, and the command that helps."""

    text: str
    hint: str


def open_connection(
    tool: Integration, client: LocalrunClient, workspace: Workspace, wanted: Mapping[ModelRole, str]
) -> ToolConnection:
    """Return the connection of a tool with the models of a running server.

    Raises:
        ModelNotFoundError: there is no model for chat, or a wanted one does not exist.
        UsageError: a wanted model cannot do what its role needs.
    """
    models = served_models(client)
    planner = ContextPlanner(workspace)
    choices = choose_models(tool, models, _with_remembered(tool, wanted, models), planner)
    roles = {role: planner.role_model(model) for role, model in choices.models.items()}
    target = Target(
        url=server_url(workspace.settings),
        chat=roles[ModelRole.CHAT],
        edit=roles.get(ModelRole.EDIT, roles[ModelRole.CHAT]),
        autocomplete=roles.get(ModelRole.AUTOCOMPLETE),
        embed=roles.get(ModelRole.EMBED),
        needs_key=workspace.settings.access.has_key,
    )
    return ToolConnection(tool=tool, target=target, chat=choices.chat, places=places_of(workspace))


def places_of(workspace: Workspace) -> Places:
    """Return the folders of tools for an environment."""
    return Places(home=workspace.home, platform=sys.platform, environ=workspace.environ)


def undo_log(tool: Integration) -> UndoLog:
    """Return the record of what was written for a tool."""
    return UndoLog(connections_folder() / tool.name)


def server_url(settings: Settings) -> str:
    """Return the URL under which a program on this machine reaches the server."""
    host = ANY_ADDRESS.get(settings.host)
    if host is None:
        return settings.url
    return f"{'https' if settings.is_tls else 'http'}://{host}:{settings.port}"


def key_note(tool: Integration, target: Target) -> str | None:
    """Return what a user with a key has to do, None if the server requires none."""
    if not target.needs_key:
        return None
    return tool.key_note or f"{tool.title} reads the key from the variable {KEY_VARIABLE}"


def _with_remembered(
    tool: Integration, wanted: Mapping[ModelRole, str], models: Sequence[ServedModel]
) -> Mapping[ModelRole, str]:
    """Return the wanted models; for chat the last one of the tool, if it is still there."""
    last = remembered_model(tool.name)
    is_here = any(last in {model.name, model.name.removesuffix(":latest")} for model in models)
    return (
        wanted
        if ModelRole.CHAT in wanted or not (last and is_here)
        else {**wanted, ModelRole.CHAT: last}
    )
