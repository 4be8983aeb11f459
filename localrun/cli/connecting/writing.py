"""``localrun connect TOOL --write`` and ``--undo``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from localrun.cli.connecting.showing import connected, print_notes
from localrun.cli.output import confirms, is_terminal
from localrun.errors import UsageError
from localrun.services.connecting.connection import undo_log
from localrun.services.connecting.remembered import remember_model
from localrun.terminal import harmless

if TYPE_CHECKING:
    from collections.abc import Mapping

    from localrun.cli.output import Output
    from localrun.integrations.target import ModelRole
    from localrun.integrations.tool import Integration
    from localrun.services.connecting.connection import ToolConnection


def write_tool(
    tool: Integration, wanted: Mapping[ModelRole, str], output: Output, *, is_sure: bool
) -> None:
    """Write the settings of a tool into its files."""
    if tool.settings is None:
        raise UsageError(
            f"{tool.title} has no file that localrun can write",
            hint=f"localrun connect {tool.name}   prints what to do",
        )
    connection = connected(tool, wanted)
    written = write_connection(connection, output, is_sure=is_sure)
    if output.as_json:
        output.json({"name": tool.name, "written": written})
    print_notes(connection, output)
    if tool.steps is not None and not output.as_json:
        for step in tool.steps(connection.target):
            output.note(step)


def write_connection(connection: ToolConnection, output: Output, *, is_sure: bool) -> list[str]:
    """Show the difference, ask, and write; return the paths that were written.

    Raises:
        UsageError: the user declines, or cannot be asked.
    """
    tool = connection.tool
    changes = [change for change in connection.changes() if change.is_change]
    if not changes:
        output.note(f"{tool.title} is connected already: nothing to write")
        return []
    for change in changes:
        output.note(harmless(change.diff()).rstrip("\n"))
    if not is_sure and not is_terminal(sys.stdin):
        raise UsageError(
            "nothing was written: there is no terminal to ask on",
            hint=f"localrun connect {tool.name} --write --yes",
        )
    names = ", ".join(str(change.path) for change in changes)
    if not is_sure and not confirms(f"Write {names}?", default=True):
        raise UsageError("nothing was written", hint=f"localrun connect {tool.name}")
    backups = undo_log(tool).write(changes)
    remember_model(tool.name, connection.target.chat.name)
    for change in changes:
        output.note(f"wrote {change.path}")
    for backup in backups:
        output.note(f"backup: {backup}")
    output.note(f"localrun connect {tool.name} --undo   restores")
    return [str(change.path) for change in changes]


def undo_tool(tool: Integration, output: Output) -> None:
    """Restore the files of a tool as they were before the last write."""
    undone = undo_log(tool).undo()
    if output.as_json:
        restored = [{"path": str(file.path), "is_removed": file.is_removed} for file in undone]
        output.json({"name": tool.name, "restored": restored})
        return
    for file in undone:
        output.note(f"{'removed' if file.is_removed else 'restored'} {file.path}")
