"""``localrun export``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from localrun.cli.completion import complete_model
from localrun.cli.options import AsJson
from localrun.cli.output import Output, human_bytes, is_terminal, written_to_stdout
from localrun.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from localrun.services.workspace import Workspace
    from localrun.store.store import Entry


def export(
    model: Annotated[str, Argument(help="Name of a local model.", autocompletion=complete_model)],
    *,
    out: Annotated[
        str, Option("--output", "-o", metavar="FILE", help="Archive to write; -: stdout.")
    ],
    as_json: AsJson = False,
) -> None:
    """Write a model with all its files to a tar archive, for offline machines.

    Example: localrun export qwen3:0.6b -o qwen3.tar
    """
    import os
    from pathlib import Path

    from localrun.services.workspace import open_workspace
    from localrun.store.archive import export_model

    if as_json and out == "-":
        raise UsageError("stdout cannot hold both the archive and JSON", hint="-o model.tar")
    workspace = open_workspace(os.environ)
    entry = _entry(workspace, model)
    if out != "-":
        written = _write(workspace, entry, Path(out))
    elif is_terminal(sys.stdout):
        hint = f"localrun export {model} -o model.tar"
        raise UsageError("an archive cannot be written to a terminal", hint=hint)
    else:
        with written_to_stdout():
            written = export_model(workspace.store, entry, sys.stdout.buffer)
            sys.stdout.buffer.flush()
    output = Output(as_json=as_json)
    if as_json:
        output.json({"name": entry.ref.name, "file": out, "written_bytes": written})
    else:
        output.note(f"{entry.ref.name}: {human_bytes(written)} written")


def _entry(workspace: Workspace, name: str) -> Entry:
    from localrun.names.parse import parse_name
    from localrun.services.remotes.stored import refuse_entry

    entry = workspace.store.find(parse_name(name))
    if entry is None:
        model = workspace.models.find_model(name)
        raise UsageError(f"{model.name} is not in the store", hint=f"localrun cp {name} mine")
    refuse_entry(entry, "exported")
    return entry


def _write(workspace: Workspace, entry: Entry, path: Path) -> int:
    """Write a partial file, then rename it: the name never means half an archive."""
    import os

    from localrun.disk import storage_errors
    from localrun.store.archive import export_model
    from localrun.system.files import replace_file

    if path.is_dir() or not path.name:
        raise UsageError(f"not a file to write: {path}", hint="-o model.tar")
    if path.exists() and not path.is_file():  # a pipe or a device: a rename would replace it
        with storage_errors(path), path.open("wb") as file:
            return export_model(workspace.store, entry, file)
    partial = path.with_name(f"{path.name}.partial")
    try:
        with storage_errors(path):
            with partial.open("wb") as file:
                written = export_model(workspace.store, entry, file)
                file.flush()
                os.fsync(file.fileno())
            replace_file(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return written
