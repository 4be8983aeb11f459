"""``localrun launch``."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Option

from localrun.cli.completion import complete_model
from localrun.cli.options import ContextOption


def complete_launchable(incomplete: str) -> list[str]:
    """Return the names of tools that can be started and begin with a text."""
    from localrun.integrations.registry import TOOLS

    return [
        name
        for name, tool in TOOLS.items()
        if tool.launch is not None and name.startswith(incomplete)
    ]


def launch(
    tool: Annotated[
        str,
        Argument(
            help="A tool, such as claude-code or codex; `localrun connect list` shows all.",
            autocompletion=complete_launchable,
        ),
    ],
    arguments: Annotated[
        list[str] | None, Argument(metavar="[-- ARGS]", help="Arguments of the tool.")
    ] = None,
    *,
    model: Annotated[
        str | None,
        Option(help="Model to use; remembered for the next time.", autocompletion=complete_model),
    ] = None,
    ctx: ContextOption = None,
    yes: Annotated[
        bool, Option("--yes", "-y", help="Install the tool and pull a model without asking.")
    ] = False,
    dry_run: Annotated[
        bool, Option("--dry-run", help="Print the command and its variables; start nothing.")
    ] = False,
) -> None:
    """Start a coding agent or another tool on a local model.

    Picks a model that can call tools with the context that the tool needs,
    loads it, and starts the tool with variables and flags alone: its own
    settings are not changed. The model stays loaded while the tool runs. The
    exit code is that of the tool.

    Examples:
    localrun launch claude-code

    localrun launch codex --model qwen3:8b -- exec "explain this repository"
    """
    from localrun.cli.connecting.starting import LaunchOptions, launch_tool
    from localrun.cli.options import parse_context
    from localrun.integrations.registry import find_tool
    from localrun.warm.own_terminal import claim_terminal

    claim_terminal()  # for the tool
    options = LaunchOptions(
        arguments=tuple(arguments or ()),
        model=model,
        num_ctx=parse_context(ctx),
        is_sure=yes,
        is_dry=dry_run,
    )
    raise SystemExit(launch_tool(find_tool(tool), options))
