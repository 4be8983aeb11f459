"""``localrun import``."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Option

from localrun.cli.completion import one_of
from localrun.cli.options import AsJson
from localrun.cli.output import Output

NAMES = ("ollama", "huggingface", "lmstudio", "llama.cpp")
TOOLS = f"{', '.join(NAMES[:-1])} or {NAMES[-1]}"


def import_command(
    source: Annotated[
        str | None,
        Argument(help="GGUF file, folder, or archive of `export`; with --from: name of a model."),
    ] = None,
    name: Annotated[str | None, Argument(help="Name of the imported model.")] = None,
    *,
    tool: Annotated[
        str | None,
        Option(
            "--from",
            metavar="TOOL",
            help=f"Import from {TOOLS}.",
            autocompletion=one_of(NAMES),
        ),
    ] = None,
    is_forced: Annotated[
        bool,
        Option("--force", help="Replace existing models; accept registry names in an archive."),
    ] = False,
    is_list: Annotated[bool, Option("--list", help="Only list the models of the tool.")] = False,
    as_json: AsJson = False,
) -> None:
    """Import models that are already on this machine, without copying if possible.

    Files of other tools are neither moved nor changed. A file that was written
    for Ollama's old engine is translated into a copy. With --from and no name,
    all models of the tool are imported. localrun asks before it replaces a
    model, or if an archive contains the name of a registry (hf.co/...).

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
            f"--list needs --from {TOOLS}", hint="localrun import --from ollama --list"
        )
    elif source is None:
        raise UsageError("specify a file, or --from TOOL", hint="localrun import ./model.gguf")
    elif source == "-" or source.endswith(".tar"):
        import_archive_file(workspace, source, target, output, is_forced=is_forced)
    else:
        import_files(workspace, source, target, output, is_forced=is_forced)
