"""``localrun connect TOOL``: the settings on stdout, all about them on stderr."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING, Any

from localrun.cli.connecting.listing import checked
from localrun.cli.serving.answer import interruptible
from localrun.client.launch import ensure_server
from localrun.errors import UsageError
from localrun.integrations.formats.documents import COMMENT_MARKS, edited_document
from localrun.integrations.target import KEY_VARIABLE
from localrun.services.connecting.connection import key_note, open_connection
from localrun.services.workspace import open_workspace

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from localrun.cli.output import Output
    from localrun.integrations.target import ModelRole
    from localrun.integrations.tool import FileSettings, Integration
    from localrun.services.connecting.connection import ToolConnection


def connected(tool: Integration, wanted: Mapping[ModelRole, str]) -> ToolConnection:
    """Return the connection of a tool; starts the server if none runs."""
    workspace = open_workspace(os.environ)
    with interruptible():
        client = ensure_server(workspace.settings)
        return open_connection(tool, client, workspace, wanted)


def show_tool(tool: Integration, wanted: Mapping[ModelRole, str], output: Output) -> None:
    """Print the settings of a tool."""
    connection = connected(tool, wanted)
    if output.as_json:
        output.json(_as_json(connection))
        return
    for text in _texts(connection):
        output.text(text)
    print_notes(connection, output)
    if connection.settings():
        output.aside(f"localrun connect {tool.name} --write   writes them")


def print_notes(connection: ToolConnection, output: Output) -> None:
    """Print the chosen models, what stands in the way, and how the settings were checked."""
    tool, target = connection.tool, connection.target
    models = target.models()
    used = [f"{role.value} {models[role].name}" for role in tool.roles if role in models]
    output.aside(f"{tool.title}: {', '.join(used)} at {target.url}")
    for problem in connection.problems():
        output.note(f"warning: {problem.text}")
        output.note(f"hint: {problem.hint}")
    note = key_note(tool, target)
    if note is not None:
        output.note(f"key: {note}")
    if not tool.is_started:
        output.aside(f"These settings were not checked by starting {tool.title} ({tool.checked}).")


def _texts(connection: ToolConnection) -> Iterator[str]:
    tool, target = connection.tool, connection.target
    for file in connection.settings():
        yield f"{COMMENT_MARKS[file.format]} {file.path}"
        yield _fresh(file)
    if tool.environment is not None:
        for name, value in tool.environment(target).items():
            quoted = f'"{value}"' if value == f"${KEY_VARIABLE}" else shlex.quote(value)
            yield f"export {name}={quoted}"
    if tool.steps is not None:
        yield from tool.steps(target)


def _fresh(file: FileSettings) -> str:
    """Return the settings as a file that has nothing else."""
    return edited_document("", file.format, file.edits)


def _as_json(connection: ToolConnection) -> dict[str, Any]:
    tool, target = connection.tool, connection.target
    models = {role: model for role, model in target.models().items() if role in tool.roles}
    return {
        "name": tool.name,
        "url": target.url,
        "needs_key": target.needs_key,
        "models": {
            role.value: {"name": model.name, "context": model.context}
            for role, model in models.items()
        },
        "files": [_file_as_json(file) for file in connection.settings()],
        "environment": dict(tool.environment(target)) if tool.environment else {},
        "steps": list(tool.steps(target)) if tool.steps else [],
        "problems": [
            {"text": problem.text, "hint": problem.hint} for problem in connection.problems()
        ],
        "checked": checked(tool),
    }


def _file_as_json(file: FileSettings) -> dict[str, Any]:
    from localrun.integrations.changes import planned_changes

    try:
        (change,) = planned_changes([file])
        state: dict[str, Any] = {"is_written": not change.is_change, "problem": None}
    except UsageError as error:
        state = {"is_written": False, "problem": error.message}
    return {
        "path": str(file.path),
        "format": file.format.value,
        "text": _fresh(file),
        **state,
    }
