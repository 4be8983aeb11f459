"""``localrun connect``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from localrun.cli.completion import complete_model
from localrun.cli.options import AsJson
from localrun.cli.output import Output
from localrun.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.integrations.target import ModelRole

LIST, CHECK = "list", "check"


def complete_tool(incomplete: str) -> list[str]:
    """Return the names of tools that begin with a text."""
    from localrun.integrations.registry import TOOLS

    return [name for name in (*TOOLS, LIST, CHECK) if name.startswith(incomplete)]


def connect(  # noqa: PLR0913 - one parameter a flag
    words: Annotated[
        list[str] | None,
        Argument(
            metavar="[list|TOOL|check TOOL]",
            help="A tool, such as continue or codex; `list` shows all.",
            autocompletion=complete_tool,
        ),
    ] = None,
    *,
    write: Annotated[
        bool, Option("--write", help="Write the settings: show the difference, ask, keep a backup.")
    ] = False,
    undo: Annotated[
        bool, Option("--undo", help="Restore the files as they were before the last --write.")
    ] = False,
    yes: Annotated[bool, Option("--yes", "-y", help="Write without asking.")] = False,
    model: Annotated[
        str | None, Option(help="Model for chat and agents.", autocompletion=complete_model)
    ] = None,
    edit: Annotated[
        str | None, Option(help="Model for edits.", autocompletion=complete_model)
    ] = None,
    autocomplete: Annotated[
        str | None, Option(help="Model for completion while typing.", autocompletion=complete_model)
    ] = None,
    embed: Annotated[
        str | None, Option(help="Model for embeddings.", autocompletion=complete_model)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Connect an editor, an agent or another tool to the server.

    Prints the settings that point the tool at the running server, with models
    that fit what it does, and the file they belong to. --write changes the
    file and keeps everything else in it; --undo restores it. `check` sends the
    requests that the tool sends first, and says what is wrong.

    Examples:
    localrun connect list

    localrun connect continue --write

    localrun connect check codex
    """
    from localrun.integrations.registry import find_tool
    from localrun.integrations.target import ModelRole

    output = Output(as_json=as_json)
    kind, name = _parsed(words or [LIST])
    if kind == LIST:
        from localrun.cli.connecting.listing import list_tools

        list_tools(output)
        return
    if write and undo:
        raise UsageError("--write and --undo exclude each other", hint=f"localrun connect {name}")
    if kind == CHECK and (write or undo):
        raise UsageError("check writes nothing", hint=f"localrun connect check {name}")
    tool = find_tool(name)
    if undo:
        from localrun.cli.connecting.writing import undo_tool

        undo_tool(tool, output)
        return
    options = {
        ModelRole.CHAT: model,
        ModelRole.EDIT: edit,
        ModelRole.AUTOCOMPLETE: autocomplete,
        ModelRole.EMBED: embed,
    }
    wanted = _wanted(options, tool.roles, tool.title)
    if kind == CHECK:
        from localrun.cli.connecting.checking import check_tool

        check_tool(tool, wanted, output)
    elif write:
        from localrun.cli.connecting.writing import write_tool

        write_tool(tool, wanted, output, is_sure=yes)
    else:
        from localrun.cli.connecting.showing import show_tool

        show_tool(tool, wanted, output)


def _parsed(words: Sequence[str]) -> tuple[str, str]:
    """Return what to do and the tool's name."""
    if words == [LIST]:
        return LIST, ""
    if words[0] == CHECK and len(words) == 2:  # noqa: PLR2004 - check NAME
        return CHECK, words[1]
    if len(words) == 1 and words[0] not in {LIST, CHECK}:
        return "", words[0]
    raise UsageError(
        f"`connect {' '.join(words)[:100]}` is not `connect TOOL` or `connect check TOOL`",
        hint="localrun connect list",
    )


def _wanted(
    options: dict[ModelRole, str | None], roles: Sequence[ModelRole], title: str
) -> dict[ModelRole, str]:
    """Return the models that the user named; an option for a role that a tool lacks is an error."""
    from localrun.integrations.target import ModelRole

    for role, value in options.items():
        if value is not None and role not in {*roles, ModelRole.CHAT}:
            raise UsageError(
                f"{title} has no model for {role.value}", hint=f"without --{role.value}"
            )
    return {role: value for role, value in options.items() if value is not None}
