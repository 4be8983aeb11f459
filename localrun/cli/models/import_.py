"""``localrun import``."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Option

from localrun.cli.options import AsJson
from localrun.cli.output import Output

TOOLS = "ollama, huggingface, lmstudio or llama.cpp"


def import_command(
    source: Annotated[
        str | None,
        Argument(help="A GGUF file, a folder, an archive of `export`; with --from a model there."),
    ] = None,
    name: Annotated[str | None, Argument(help="What to call it here.")] = None,
    *,
    tool: Annotated[
        str | None, Option("--from", metavar="TOOL", help=f"Take what {TOOLS} keeps.")
    ] = None,
    is_forced: Annotated[
        bool,
        Option(
            "--force", help="Replace a model of the name; let an archive use registries' names."
        ),
    ] = False,
    is_list: Annotated[bool, Option("--list", help="Only list what the tool keeps.")] = False,
    as_json: AsJson = False,
) -> None:
    """Use models that are on this machine already, without a copy where possible.

    Files of other tools are neither moved nor changed. With --from and no name, all
    models of the tool are taken. Before another model of the name is replaced, or an archive
    gives a model the name of a registry (hf.co/...), you are asked.

    Examples:
    localrun import ./model-Q4_K_M.gguf mine

    localrun import --from ollama llama3.2
    """
    import os

    from localrun.cli.models.importing import (
        import_archive_file,
        import_files,
        import_from_tool,
        list_of_tool,
    )
    from localrun.errors import UsageError
    from localrun.names.parse import parse_name
    from localrun.services.workspace import open_workspace

    workspace = open_workspace(os.environ)
    output = Output(as_json=as_json)
    target = parse_name(name) if name is not None else None
    if tool is not None and is_list:
        list_of_tool(workspace, tool, source, output)
    elif tool is not None:
        import_from_tool(workspace, tool, source, target, output, is_forced=is_forced)
    elif is_list:
        raise UsageError(
            f"--list goes with --from {TOOLS}", hint="localrun import --from ollama --list"
        )
    elif source is None:
        raise UsageError("name a file, or --from a tool", hint="localrun import ./model.gguf")
    elif source == "-" or source.endswith(".tar"):
        import_archive_file(workspace, source, target, output, is_forced=is_forced)
    else:
        import_files(workspace, source, target, output, is_forced=is_forced)
